"""Contents of files, whole or in chunks."""
