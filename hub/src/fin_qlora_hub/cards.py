"""What a repository says of itself: the YAML of its README and its configuration files."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

CARD_FILE = "README.md"
CONFIGURATION_FILES = ("adapter_config.json", "config.json")
MAX_CARD_BYTES = 1024 * 1024
MAX_TAGS = 500
MAX_TAG_LENGTH = 255
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)(?:^---[ \t]*(?:\r?\n|\Z))", re.S | re.M)
_REPOSITORY_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


class CardError(ValueError):
    """The YAML at the head of a README cannot be used."""


@dataclass(frozen=True)
class Card:
    """What lists and filters know of a repository."""

    tags: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    pipeline_tag: str | None = None
    library_name: str | None = None
    base_models: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the form in which the database keeps a card."""
        return {**asdict(self), "tags": list(self.tags), "base_models": list(self.base_models)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Card":
        """Read what `to_json` wrote."""
        return cls(**{**row, "tags": tuple(row["tags"]), "base_models": tuple(row["base_models"])})


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases, which can make a small text expand without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise CardError("YAML aliases ('*name') are not allowed in metadata: write it out.")
        return super().compose_node(parent, index)


def parse_metadata(readme: str) -> dict[str, Any]:
    """Return the metadata between the two '---' lines of a README; raises CardError."""
    front = _FRONT_MATTER.match(readme)
    if front is None:
        return {}
    try:
        data = yaml.load(front[1], Loader=_PlainLoader)  # noqa: S506 - a SafeLoader
        plain = json.loads(json.dumps(data, default=str, allow_nan=False))
    except CardError:
        raise
    except yaml.YAMLError as error:
        raise CardError(f"The metadata is not valid YAML: {_one_line(error)}") from error
    except (RecursionError, TypeError, ValueError) as error:
        raise CardError("The metadata holds values that JSON cannot: simplify it.") from error
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise CardError("The metadata must be a mapping of names to values ('license: mit').")
    return plain


def describe(texts: Mapping[str, bytes], *, paths: Iterable[str]) -> Card:
    """Derive the card from the card and configuration files; broken ones say nothing."""
    try:
        data = parse_metadata(texts.get(CARD_FILE, b"").decode("utf-8", "replace"))
    except CardError:
        data = {}
    adapter = _read_json(texts.get("adapter_config.json"))
    model = _read_json(texts.get("config.json"))
    library = _text(data.get("library_name"))
    if library is None and adapter:
        library = "peft"
    elif library is None and "architectures" in model:
        library = "transformers"
    pipeline = _text(data.get("pipeline_tag"))
    bases = _base_models(data, adapter)
    relation = _text(data.get("base_model_relation")) or ("adapter" if adapter else None)
    tags = [
        *_texts(library),
        *(["safetensors"] if any(p.endswith(".safetensors") for p in paths) else []),
        *_texts(model.get("model_type")),
        *_texts(pipeline),
        *_texts(data.get("tags")),
        *_texts(data.get("language")),
        *(f"dataset:{name}" for name in _texts(data.get("datasets"))),
        *(f"license:{name}" for name in _texts(data.get("license"))),
        *(f"base_model:{name}" for name in bases),
        *(f"base_model:{relation}:{name}" for name in bases if relation),
    ]
    unique = dict.fromkeys(tag for tag in tags if len(tag) <= MAX_TAG_LENGTH)
    return Card(
        tags=tuple(unique)[:MAX_TAGS],
        data=data,
        config=_config(adapter, model),
        pipeline_tag=pipeline,
        library_name=library,
        base_models=bases,
    )


def _base_models(data: Mapping[str, Any], adapter: Mapping[str, Any]) -> tuple[str, ...]:
    named = [*_texts(data.get("base_model")), *_texts(adapter.get("base_model_name_or_path"))]
    # A path of the training machine is no id that anyone could look up.
    return tuple(dict.fromkeys(name for name in named if _REPOSITORY_ID.fullmatch(name)))


def _config(adapter: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    config = {key: model[key] for key in ("architectures", "model_type") if key in model}
    if adapter:
        keys = ("base_model_name_or_path", "revision", "peft_type", "task_type")
        config["peft"] = {key: adapter[key] for key in keys if adapter.get(key) is not None}
    return config


def _read_json(content: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if text := _text(item):
            yield text


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
