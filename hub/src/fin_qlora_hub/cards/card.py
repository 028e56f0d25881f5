"""What a repository says of itself: the YAML of its README and its configuration files."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from fin_qlora_hub.cards.evaluations import FileResults, is_result_file, read_results
from fin_qlora_hub.cards.licences import LICENCES, is_licence
from fin_qlora_hub.cards.plainyaml import MAX_DEPTH, YamlError, read_yaml

CARD_FILE = "README.md"
CONFIGURATION_FILES = ("adapter_config.json", "config.json")
MAX_CARD_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
MAX_TAGS = 200
MAX_TAG_LENGTH = 255
# What data sets say of themselves is found by `filter=task_categories:...`, and so on.
_DATASET_FIELDS = (
    *("annotations_creators", "language_creators", "language", "multilinguality"),
    *("size_categories", "source_datasets", "task_categories", "task_ids"),
)
_MAX_INTEGER = 2**63
_FRONT_MATTER = re.compile(
    r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)(?:^---[ \t]*(?:\r?\n|\Z))", re.S | re.M
)
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
    results: tuple[FileResults, ...] = ()
    # The SHA-256 of the weights and how many numbers of each type they hold.
    weights: tuple[str, Mapping[str, int]] | None = None

    def summary(self) -> dict[str, Any]:
        """Return what lists show, in the form in which the database keeps it."""
        return {
            "tags": list(self.tags),
            "pipeline_tag": self.pipeline_tag,
            "library_name": self.library_name,
            "base_models": list(self.base_models),
        }

    def details(self) -> dict[str, Any]:
        """Return the rest, which may be long, in the form in which the database keeps it."""
        results = [shown for file in self.results for shown in file.shown()]
        details = {"data": self.data, "config": self.config, "results": results}
        if self.weights is not None:
            sha256, parameters = self.weights
            details["weights"] = {"sha256": sha256, "parameters": parameters}
        return details


def parse_metadata(readme: str) -> dict[str, Any]:
    """Return the metadata between the two '---' lines of a README; raises CardError."""
    front = _FRONT_MATTER.match(readme)
    if front is None:
        return {}
    if len(front[1].encode("utf-8", "replace")) > MAX_METADATA_BYTES:
        raise CardError(
            f"The metadata has more than {MAX_METADATA_BYTES:,} bytes: move text below it."
        )
    try:
        plain = read_yaml(front[1])
    except YamlError as error:
        raise CardError(f"The metadata {error}") from error
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise CardError("The metadata must be a mapping of names to values ('license: mit').")
    return plain


def find_faults(metadata: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the metadata of a README, a sentence for each."""
    faults = []
    if not isinstance(metadata.get("model-index", []), list):
        faults.append('"model-index" must be a list of models with their results')
    licence = metadata.get("license")
    for name in licence if isinstance(licence, list) else [licence]:
        if name is not None and not is_licence(name):
            faults.append(
                f'"license" must be one of {", ".join(sorted(LICENCES))}, or an id of your own '
                "with a version or a dash; for any other give 'other', 'license_name' and "
                "'license_link'"
            )
    return faults


def describe(texts: Mapping[str, bytes], *, paths: Iterable[str], of_dataset: bool = False) -> Card:
    """Derive the card from the card and configuration files; broken ones say nothing.

    Whatever the files hold, this returns a card that can be kept and shown: at worst an empty one.
    """
    try:
        card = _describe(texts, paths=paths, of_dataset=of_dataset)
        json.dumps([card.summary(), card.details()], allow_nan=False, ensure_ascii=False).encode()
    except Exception:  # the files are a stranger's: no fault in them may keep a commit out
        return Card()
    return card


def _describe(texts: Mapping[str, bytes], *, paths: Iterable[str], of_dataset: bool) -> Card:
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
    fields = _DATASET_FIELDS if of_dataset else ()
    endings = {PurePosixPath(path).suffix for path in paths}
    tags = [
        *_texts(library),
        *(form for form in ("gguf", "safetensors") if f".{form}" in endings),
        *_texts(model.get("model_type")),
        *_texts(pipeline),
        *_texts(data.get("tags")),
        *_texts(data.get("language")),
        *(f"{name}:{value}" for name in fields for value in _texts(data.get(name))),
        *(f"dataset:{name}" for name in _texts(data.get("datasets"))),
        *(f"license:{name}" for name in _texts(data.get("license"))),
        *(f"base_model:{name}" for name in bases),
        *(f"base_model:{relation}:{name}" for name in bases if relation),
    ]
    unique = dict.fromkeys(tag for tag in tags if len(tag) <= MAX_TAG_LENGTH)
    return Card(
        tags=tuple(unique)[:MAX_TAGS],
        data=_plain(data),
        config=_config(adapter, model),
        pipeline_tag=pipeline,
        library_name=library,
        base_models=bases,
        results=tuple(
            read_results(path, texts[path]) for path in sorted(texts) if is_result_file(path)
        ),
    )


def _base_models(data: Mapping[str, Any], adapter: Mapping[str, Any]) -> tuple[str, ...]:
    named = [*_texts(data.get("base_model")), *_texts(adapter.get("base_model_name_or_path"))]
    # A path of the training machine is no id that anyone could look up.
    ids = dict.fromkeys(name for name in named if _REPOSITORY_ID.fullmatch(name))
    return tuple(ids)[:MAX_TAGS]


def _config(adapter: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    config = {key: model[key] for key in ("architectures", "model_type") if key in model}
    if adapter:
        keys = ("base_model_name_or_path", "revision", "peft_type", "task_type")
        config["peft"] = {key: adapter[key] for key in keys if adapter.get(key) is not None}
    return config if len(json.dumps(config)) <= MAX_METADATA_BYTES else {}


def _read_json(content: bytes | None) -> dict[str, Any]:
    try:
        value = _plain(json.loads(content or b"{}"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value without what JSON, UTF-8 or the database could not write down again."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < _MAX_INTEGER else None
    if isinstance(value, dict):
        return {_plain(str(name)): _plain(below, depth + 1) for name, below in value.items()}
    if isinstance(value, list):
        return [_plain(below, depth + 1) for below in value]
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TAG_LENGTH else None


def _texts(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if text := _text(item):
            yield text
