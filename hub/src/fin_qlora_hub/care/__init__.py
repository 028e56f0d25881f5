"""Keeping a hub well: backups, bundles, checks, collection of what is unused."""
