"""Who somebody is, and what they may see and do."""
