"""Fetching the files of a model or adapter from a folder, the cache or the hub."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import (
    HubError,
    HubNotFoundError,
    HubRefusedError,
    HubUnreachableError,
    MissingFileError,
)

#: Nothing else is ever fetched: no pickle, no code.
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.md", "eval/*.parquet"]


def fetch(reference: str, *, revision: str | None, needs: str) -> tuple[Path, str | None]:
    """Return the folder of ``reference`` and its commit (None for a local folder).

    Args:
        reference: a folder or ``org/name`` on the hub that HF_ENDPOINT names.
        needs: a file that must be in it, such as ``config.json``.

    Raises:
        MissingFileError: no such folder, or ``needs`` is not in it.
        HubNotFoundError, HubRefusedError, HubUnreachableError: the hub did not give it.
    """
    if Path(reference).is_dir():
        folder, commit = Path(reference), None
    elif reference.startswith((".", "/", "~")) or reference.count("/") != 1:
        raise MissingFileError(
            f"'{reference}' is neither a folder nor a hub id.",
            fix="Give an existing folder or an id like 'org/name'.",
        )
    else:
        folder = _download(reference, revision)
        commit = folder.name if folder.parent.name == "snapshots" else None
    if not (folder / needs).is_file():
        raise MissingFileError(f"'{reference}' has no {needs}.", fix="Check what it holds.")
    return folder, commit


def _download(reference: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(
            snapshot_download(
                reference,
                revision=revision,
                allow_patterns=PATTERNS,
                # without a named hub the client would ask the public one
                local_files_only="HF_ENDPOINT" not in os.environ,
            )
        )
    except HFValidationError as error:
        raise MissingFileError(f"'{reference}' is not a valid hub id.") from error
    except (HfHubHTTPError, OSError) as error:
        raise hub_error(error, reference, revision=revision) from error


def hub_error(error: Exception, what: str, *, revision: str | None = None) -> HubError:
    """Return our error for one of the hub client's, as a sentence that says what to do."""
    endpoint = os.environ.get("HF_ENDPOINT")
    at = f" at revision '{revision}'" if revision else ""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    statuses = [getattr(getattr(e, "response", None), "status_code", None) for e in chain]
    status = next((s for s in statuses if s is not None), None)
    text = " ".join(str(e) for e in chain)
    if not endpoint:
        return HubNotFoundError(
            f"'{what}'{at} is not in the local cache, and no hub is named.",
            fix="Set HF_ENDPOINT to your hub's address.",
        )
    if status == 401 and "RepoNotFound" not in text and "not found" not in text.lower():
        return HubRefusedError(
            f"The hub at {endpoint} refused the token.", fix="Set HF_TOKEN to a valid token."
        )
    if status == 401:
        return HubRefusedError(
            f"'{what}' is not to be had from {endpoint} without a valid token.",
            fix="Set HF_TOKEN to a token that may read it.",
        )
    if status == 403:
        return HubRefusedError(
            f"The hub at {endpoint} does not allow this on '{what}': {str(error).splitlines()[-1]}",
            fix="Ask for the right, or use another token.",
        )
    if status == 404:
        return HubNotFoundError(
            f"'{what}'{at} is not on the hub at {endpoint}, or your token may not see it.",
            fix="Check the name, the revision and HF_TOKEN.",
        )
    if status is None:
        return HubUnreachableError(
            f"No hub answers at {endpoint}.", fix="Start it, or check HF_ENDPOINT."
        )
    first = str(error).strip().splitlines()
    return HubError(f"The hub at {endpoint} answered {status}: {first[0] if first else ''}")
