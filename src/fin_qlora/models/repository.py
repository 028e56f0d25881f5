"""Fetching the files of a model or adapter from a folder, the cache or the hub."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from ..errors import (
    EnvironmentFault,
    FinQloraError,
    HubError,
    HubNotFoundError,
    HubRefusedError,
    HubUnreachableError,
    MissingFileError,
    UsageError,
)
from ..files import disk_full_is_an_error
from ..offline import endpoint, quiet_environment

#: Nothing else is ever fetched: no pickle, no code.
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.md", "eval/*.parquet"]
_WITHOUT_WEIGHTS = [pattern for pattern in PATTERNS if pattern != "*.safetensors"]


def fetch(
    reference: str, *, revision: str | None, needs: str, weights: bool = True
) -> tuple[Path, str | None]:
    """Return the folder of ``reference`` and its commit (None for a local folder).

    Args:
        reference: a folder or ``org/name`` on the hub that HF_ENDPOINT names.
        needs: a file that must be in it, such as ``config.json``.
        weights: False to fetch everything but the weights.

    Raises:
        MissingFileError: no such folder, or ``needs`` is not in it.
        HubNotFoundError, HubRefusedError, HubUnreachableError: the hub did not give it.
        DiskFullError, EnvironmentFault: it could not be written here.
    """
    if Path(reference).is_dir():
        folder, commit = Path(reference), None
    elif reference.startswith((".", "/", "~")) or reference.count("/") != 1:
        raise MissingFileError(
            f"'{reference}' is neither a folder nor a hub id.",
            fix="Give an existing folder or an id like 'org/name'.",
        )
    else:
        folder = _download(reference, revision, PATTERNS if weights else _WITHOUT_WEIGHTS)
        commit = folder.name if folder.parent.name == "snapshots" else None
    if not (folder / needs).is_file():
        raise MissingFileError(f"'{reference}' has no {needs}.", fix="Check what it holds.")
    return folder, commit


def _download(reference: str, revision: str | None, patterns: list[str]) -> Path:
    quiet_environment()
    from huggingface_hub import constants, snapshot_download

    address = endpoint()
    with hub_errors(reference, revision=revision, place=Path(constants.HF_HUB_CACHE)):
        return Path(
            snapshot_download(
                reference,
                revision=revision,
                allow_patterns=patterns,
                endpoint=address,
                # without a named hub the client would ask the public one
                local_files_only=address is None,
            )
        )


@contextlib.contextmanager
def hub_errors(
    what: str, *, revision: str | None = None, place: Path | None = None
) -> Iterator[None]:
    """Raise whatever goes wrong with the hub's client as one of our errors.

    Args:
        what: the repository that is asked for, for the sentence.
        place: the folder that is written to, where the block downloads.

    Raises:
        UsageError: a name that no hub takes.
        HubError: the hub is away, refuses, has no such thing, or does not speak as a hub.
        EnvironmentFault: this machine could not write or read; DiskFullError is one.
    """
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub.errors import HFValidationError

    try:
        with disk_full_is_an_error(place or Path.cwd()):
            yield
    except HFValidationError as error:
        raise UsageError(
            f"'{what}' is not a name that a hub accepts.", fix="Give it as ORG/NAME."
        ) from error
    except (HTTPError, InvalidURL, OSError, json.JSONDecodeError) as error:
        raise hub_error(error, what, revision=revision) from error


def hub_error(error: Exception, what: str, *, revision: str | None = None) -> FinQloraError:
    """Return our error for one of the hub client's, as a sentence that says what to do."""
    from httpx2 import InvalidURL, TransportError
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    address = endpoint()
    chain = _chain(error)
    statuses = [getattr(getattr(e, "response", None), "status_code", None) for e in chain]
    status = next((s for s in statuses if s is not None), None)
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if status is not None:
        return _answered(status, chain, what, revision=revision)
    if isinstance(error, LocalTokenNotFoundError):
        return HubRefusedError(
            f"There is no token for the hub at {address}.",
            fix="Set HF_TOKEN, or log in with `hf auth login`.",
        )
    if address is None and isinstance(error, LocalEntryNotFoundError):
        return HubNotFoundError(
            f"'{what}'{_at(revision)} is not in the local cache, and no hub is named.",
            fix="Set HF_ENDPOINT to your hub's address.",
        )
    if any(isinstance(e, OfflineModeIsEnabled) for e in chain):
        return HubUnreachableError(
            f"'{what}'{_at(revision)} is not in the local cache, and HF_HUB_OFFLINE is set.",
            fix=f"Unset HF_HUB_OFFLINE to ask the hub at {address}.",
        )
    if any(
        isinstance(e, TransportError | InvalidURL | ConnectionError | TimeoutError) for e in chain
    ) or isinstance(error, LocalEntryNotFoundError):
        return HubUnreachableError(
            f"No hub answers at {address}.", fix="Start it, or check HF_ENDPOINT."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return EnvironmentFault(
            f"'{error.filename or what}' could not be read or written: {error.strerror}.",
            fix="Check its permissions, or set HF_HOME to a folder of your own.",
        )
    return HubError(
        f"What answers at {address} does not speak as a hub: {first}", fix="Check HF_ENDPOINT."
    )


def _answered(
    status: int, chain: list[BaseException], what: str, *, revision: str | None
) -> HubError:
    """Return the error for a hub that answered with an HTTP status."""
    address = endpoint()
    text = " ".join(map(str, chain))
    lines = str(chain[0]).strip().splitlines() or [""]
    if status == 401 and "RepoNotFound" not in text and "not found" not in text.lower():
        return HubRefusedError(
            f"The hub at {address} refused the token.", fix="Set HF_TOKEN to a valid token."
        )
    if status == 401:
        return HubRefusedError(
            f"'{what}' is not to be had from {address} without a valid token.",
            fix="Set HF_TOKEN to a token that may read it.",
        )
    if status == 403:
        return HubRefusedError(
            f"The hub at {address} does not allow this on '{what}': {lines[-1]}",
            fix="Ask for the right, or use another token.",
        )
    if status == 404:
        return HubNotFoundError(
            f"'{what}'{_at(revision)} is not on the hub at {address}, or your token may not see "
            "it.",
            fix="Check the name, the revision and HF_TOKEN.",
        )
    return HubError(f"The hub at {address} answered {status}: {lines[0]}")


def _at(revision: str | None) -> str:
    return f" at revision '{revision}'" if revision else ""


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and all that it came from."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain
