"""The groups of the command line."""
