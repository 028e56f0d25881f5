"""What is in a repository, as git sees it: objects, trees, references, history."""
