"""Records of a data set on the hub that HF_ENDPOINT names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import HubError, HubNotFoundError, HubUnreachableError, MissingFileError
from ..tasks import HubForm
from .reading import Record

if TYPE_CHECKING:
    from ..tasks.source import Part


def hub_records(
    form: HubForm, part: Part, *, revision: str | None
) -> tuple[Iterator[tuple[int, Record]], str]:
    """Return the numbered records of a part, and what was read as ``id@commit/split``.

    Raises:
        MissingFileError: the data set has no such part.
        HubNotFoundError, HubUnreachableError, HubError: the hub did not give it.
    """
    endpoint = os.environ.get("HF_ENDPOINT")
    if not endpoint:
        raise HubUnreachableError(
            "No hub is named.", fix="Set HF_ENDPOINT, or pass --data_dir with the raw files."
        )
    if part not in form.parts:
        raise MissingFileError(
            f"'{form.id}' has no {part} part.", fix=f"It has {', '.join(form.parts)}."
        )
    from datasets import load_dataset
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    at = f" at revision '{revision}'" if revision else ""
    try:
        commit = HfApi(endpoint=endpoint).dataset_info(form.id, revision=revision).sha
        loaded = load_dataset(
            form.id, form.configuration or None, split=form.parts[part], revision=commit
        )
    except RepositoryNotFoundError as error:
        raise HubNotFoundError(
            f"The data set '{form.id}'{at} is not on the hub at {endpoint}, or your token may not "
            "see it.",
            fix="Check the id and HF_TOKEN, or pass --data_dir with the raw files.",
        ) from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        raise HubError(
            f"The hub at {endpoint} did not give '{form.id}'{at} (status {status})."
        ) from error
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HubUnreachableError(
            f"'{form.id}'{at} could not be read from {endpoint}: {first}",
            fix="Check HF_ENDPOINT, or pass --data_dir with the raw files.",
        ) from error
    return (
        enumerate(_spelled_out(loaded), start=1),
        f"{form.id}@{commit}/{form.parts[part]}",
    )


def _spelled_out(loaded: Any) -> Iterator[Record]:
    """Yield records with lists of class ids turned into the names that the data set gives them."""
    inner: dict[str, Any] = {
        name: getattr(feature, "feature", None)
        for name, feature in (getattr(loaded, "features", None) or {}).items()
    }
    names = {column: each.names for column, each in inner.items() if hasattr(each, "names")}
    for record in loaded:
        spelled = {
            column: [of[number] for number in record[column]] for column, of in names.items()
        }
        yield dict(record) | spelled
