"""One spelling of flags for another: ours are kebab-case, those of recipes snake_case."""

from __future__ import annotations


def snake_case(argument: str) -> str:
    """Spell a flag as recipes do; values stay as they are."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value
