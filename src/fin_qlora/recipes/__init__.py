"""Runs that read top to bottom; their settings are the YAML files that ship beside them."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .catalogue import recipe_names, recipe_path

__all__ = ["recipe_names", "recipe_path"]
