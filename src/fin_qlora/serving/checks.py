"""What the files of a fetched adapter must be before an engine may load them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import AdapterMismatchError, DataError, MissingFileError, UsageError
from ..evidence import MANIFEST, read_record, verify_files
from ..models.lora import WEIGHTS
from ..models.stored_lora import CONFIG, read_config, stored_tensors

#: Files that run something where they are loaded: pickles, code, libraries.
_UNSAFE = frozenset(
    ".bin .pt .pth .ckpt .pkl .pickle .joblib .npz .msgpack .h5 .keras .dill .npy "
    ".py .pyc .pyd .so .dll .dylib .whl .sh".split()
)
#: A JSON file that is larger is no configuration or tokenizer; read, it takes many times as much.
_JSON_BYTES = 64 * 2**20
#: An adapter has some twenty files.
_FILES = 500

#: Settings by which PEFT computes something else than two matrices of one rank beside a layer, all
#: at one scale (an engine reads ``r`` and ``lora_alpha`` alone).
_UNSUPPORTED = (
    "rank_pattern",
    "alpha_pattern",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "target_parameters",
)


def check_names(names: Iterable[str]) -> None:
    """Refuse a repository that holds pickles or code, although they would never be fetched.

    Raises DataError, which names them.
    """
    unsafe = sorted(name for name in names if PurePosixPath(name).suffix.lower() in _UNSAFE)
    if unsafe:
        raise DataError(
            f"It holds files that run code when they are loaded: {', '.join(unsafe[:5])}.",
            fix="Push the adapter with `fin-qlora push`, which sends safetensors alone.",
        )


def check_sizes(sizes: Mapping[str, int | None], *, most: int) -> None:
    """Refuse an adapter that is too large to fetch, or to read.

    Args:
        sizes: name of each file -> its bytes; None where the hub does not say.
        most: bytes that all of them may have together.

    Raises DataError.
    """
    unknown = sorted(name for name, size in sizes.items() if size is None)
    if unknown:
        raise DataError(f"The hub does not say how large '{unknown[0]}' is.")
    large = [
        name
        for name, size in sizes.items()
        if name.lower().endswith(".json") and (size or 0) > _JSON_BYTES
    ]
    total = sum(size or 0 for size in sizes.values())
    if large:
        found = f"'{large[0]}' has more than {_JSON_BYTES >> 20} MB, which no JSON file needs"
    elif len(sizes) > _FILES:
        found = f"It has {len(sizes):,} files, and at most {_FILES} are fetched"
    elif total > most:
        found = f"Its files have {total / 2**20:,.0f} MB, and at most {most >> 20:,} are fetched"
    else:
        return
    raise DataError(
        f"{found}.", fix="The operator may raise FIN_QLORA_SERVE_MAX_MEGABYTES for weights."
    )


def check_places(folder: Path) -> None:
    """Refuse files of a fetched folder that lie elsewhere than where the hub's client puts them.

    That is the cache of their repository, or the blobs that all repositories of a cache share.

    Raises DataError.
    """
    repository = folder.parent.parent.resolve()
    kept = (repository, repository.parent / "blobs")
    for path in folder.rglob("*"):
        if not any(path.resolve().is_relative_to(place) for place in kept):
            raise DataError(
                f"'{path.name}' is a link out of the cache.", fix="Remove it and ask again."
            )


def check_evidence(folder: Path) -> dict[str, Any]:
    """Compare every file with the manifest and the record with the configuration.

    Returns the record. Raises MissingFileError or DataError when something is missing, has
    changed, or is told differently in two files.
    """
    for name in (CONFIG, WEIGHTS, MANIFEST):
        if not (folder / name).is_file():
            raise MissingFileError(
                f"It has no {name}.", fix="Only adapters with their evidence are served."
            )
    findings = verify_files(folder)
    if findings:
        raise DataError(
            f"It is not what was trained: {' '.join(findings)}", fix="Ask its owner to push again."
        )
    record = read_record(folder)
    config = read_config(folder)
    named = (config.get("base_model_name_or_path"), config.get("revision"))
    recorded = (record["base"]["id"], record["base"]["revision"])
    if named != recorded:
        raise DataError(
            f"{CONFIG} names the base {named[0]!r} at {named[1]!r}, but its record "
            f"{recorded[0]!r} at {recorded[1]!r}.",
            fix="One of them was edited; ask its owner to push again.",
        )
    return record


def check_base(record: Mapping[str, Any], *, served: Mapping[str, str | None]) -> None:
    """Refuse an adapter of another base than the served one.

    Args:
        record: of the adapter.
        served: ``digest`` of the weights where they are in a folder; else ``id`` and ``revision``.

    Raises AdapterMismatchError.
    """
    base = record["base"]
    if any(base[name] != value for name, value in served.items()):
        raise AdapterMismatchError(
            f"It was trained on {_described(base)}, and {_described(served)} is served.",
            fix="Serve the base that it was trained on.",
        )


def check_adapter(folder: Path, *, max_rank: int) -> None:
    """Refuse what an engine cannot serve as it was trained, and an adapter that does nothing.

    Raises:
        UsageError: its rank is larger than the server takes.
        AdapterMismatchError: it is no plain LoRA, its matrices do not belong together, or every B
            is zero, so that answers would be the base's.
        NotFiniteError: a tensor holds NaN or an infinity.
        RemoteCodeError: it names a module that would be imported.
    """
    config = read_config(folder)
    more = [name for name in _UNSUPPORTED if config.get(name)]
    if more:
        raise AdapterMismatchError(
            f"It uses {', '.join(more)}, which the engine does not apply.",
            fix="Merge it into its base with `fin-qlora merge` and serve that.",
        )
    found = stored_tensors(folder)
    for name, tensor in found.items():
        other = _partner(name)
        if other not in found:
            raise AdapterMismatchError(f"Its tensor '{name}' has no '{other}' beside it.")
        if tensor.ndim != 2:
            raise AdapterMismatchError(f"Its tensor '{name}' is no matrix.")
        rank = tensor.shape[1] if ".lora_B." in name else tensor.shape[0]
        if rank != config.get("r"):
            raise AdapterMismatchError(
                f"Its tensor '{name}' has rank {rank}, but {CONFIG} says {config.get('r')!r}, by "
                "which the engine scales it."
            )
        if rank > max_rank:
            raise UsageError(
                f"Its rank is {rank}, and at most {max_rank} is served here.",
                fix="The operator may raise FIN_QLORA_SERVE_MAX_RANK and --max-lora-rank.",
            )


def _partner(name: str) -> str:
    """Return the name of the matrix that belongs to A or B; raises for any other tensor."""
    for here, there in ((".lora_A.", ".lora_B."), (".lora_B.", ".lora_A.")):
        if here in name:
            return name.replace(here, there)
    raise AdapterMismatchError(f"Its tensor '{name}' belongs to no LoRA matrix.")


def _described(base: Mapping[str, str | None]) -> str:
    if "id" not in base:
        return f"the base with digest {str(base['digest'])[:12]}"
    digest = base.get("digest")
    more = f" with digest {digest[:12]}" if digest else ""
    return f"'{base['id']}' at revision {base['revision']}{more}"
