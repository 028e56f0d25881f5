"""Rows: where they come from, what was wrong with them, and how they become token ids."""
