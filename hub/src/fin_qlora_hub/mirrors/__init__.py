"""Repositories of another hub, kept here."""
