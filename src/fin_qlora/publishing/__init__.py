"""Sharing an adapter with its evidence: card, push, pull."""

from .base import push_base
from .card import card
from .pull import pull
from .push import push
from .upload import Published

__all__ = ["Published", "card", "pull", "push", "push_base"]
