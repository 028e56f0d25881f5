"""Sharing an adapter with its evidence: card, push, pull."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .base import push_base
from .card import card
from .pull import pull
from .push import push
from .upload import Published

__all__ = ["Published", "card", "pull", "push", "push_base"]
