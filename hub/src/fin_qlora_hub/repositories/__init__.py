"""Repositories: made, changed, found and talked about."""
