"""What is checked before a weight moves."""
