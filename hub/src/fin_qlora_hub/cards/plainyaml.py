"""YAML of strangers: read without letting a small text become dear, as plain JSON values."""

import json
import re
from typing import Any

import yaml

from fin_qlora_hub.text import shortened

MAX_DEPTH = 50
_MAX_NUMBER_LENGTH = 64
_NUMBER = re.compile(r"[-+0-9_.:]+")


class YamlError(ValueError):
    """The text cannot be used; the message goes on after the name of what it is."""


# The loader in C where PyYAML was built with it: twenty times as fast, and as safe.
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str) -> Any:
    """Return what a text says, in values that JSON has; raises YamlError."""
    try:
        _check_events(text)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        plain = json.dumps(data, default=str, allow_nan=False, ensure_ascii=False)
        return json.loads(plain.encode())
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise YamlError(f"is not valid YAML: {_one_line(error)}") from error
    except (RecursionError, TypeError, ValueError, OverflowError) as error:
        raise YamlError("holds values that JSON cannot: simplify it.") from error


def _check_events(text: str) -> None:
    """Refuse what makes a small text dear: aliases, deep nesting, endless numbers."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise YamlError("holds YAML aliases ('*name'), which are not allowed: write it out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and (
            event.implicit[0]
            and len(event.value) > _MAX_NUMBER_LENGTH
            and _NUMBER.fullmatch(event.value)
        ):
            raise YamlError("holds an endless number: write it as quoted text.")
        if depth > MAX_DEPTH:
            raise YamlError(f"nests more than {MAX_DEPTH} levels: simplify it.")


def _one_line(error: Exception) -> str:
    text = str(error).encode("utf-8", "replace").decode()
    return shortened(" ".join(text.split()), limit=300)
