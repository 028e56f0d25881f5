"""The JSON forms in which clients expect repositories, files, commits and references."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fin_qlora_hub.access.visibility import Seen
from fin_qlora_hub.git.trees import Entry, FileEntry, FolderEntry
from fin_qlora_hub.metadata.tables import Commit, Reference
from fin_qlora_hub.repositories.repository import Contents


def moment(when: datetime) -> str:
    """Return a time as the public hub writes it."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def repository(found: Seen, *, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what lists show of a repository; `details` is the rest of its card."""
    card = found.card
    shown = {
        "_id": f"{found.id:024x}",
        "id": found.name,
        "modelId": found.name,
        "author": found.name.partition("/")[0],
        "private": found.private,
        "gated": found.gated or False,
        "disabled": False,
        "createdAt": moment(found.created_at),
        "lastModified": moment(found.updated_at),
        "downloads": found.downloads,
        "downloadsAllTime": found.downloads,
        "likes": 0,
        "trendingScore": 0,
        "xetEnabled": True,
        "tags": card["tags"],
        "pipeline_tag": card["pipeline_tag"],
        "library_name": card["library_name"],
        "baseModels": {"models": [{"id": name} for name in card["base_models"]]},
    }
    if details is not None:
        shown |= {
            "cardData": details["data"],
            "config": details["config"],
            "model-index": details["data"].get("model-index"),
            "widgetData": details["data"].get("widget"),
            "evalResults": details.get("results", []),
        }
        parameters = details.get("weights", {}).get("parameters")
        if parameters:
            total = sum(parameters.values())
            shown["safetensors"] = {"parameters": parameters, "total": total}
    return shown


def contents(held: Contents, *, blobs: bool = False) -> dict[str, Any]:
    """Return what repository information adds to that: the files of one revision."""
    return {
        "sha": held.commit.oid,
        "lastModified": moment(held.commit.created_at),
        "siblings": [_sibling(path, file, blobs=blobs) for path, file in held.files.items()],
        "usedStorage": held.used_storage,
        "spaces": [],
    }


def _sibling(path: str, entry: FileEntry, *, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    shown = {"rfilename": path, "size": entry.content.size, "blobId": entry.oid}
    if entry.large:
        shown["lfs"] = {
            "sha256": entry.content.sha256,
            "size": entry.content.size,
            "pointerSize": entry.pointer_size,
        }
    return shown


def tree_item(
    path: str,
    entry: Entry,
    *,
    last: Commit | None = None,
    xet_hashes: Mapping[str, str],
) -> dict[str, Any]:
    """Return what a listing of files shows of one file or folder."""
    shown: dict[str, Any]
    if isinstance(entry, FolderEntry):
        shown = {"type": "directory", "oid": entry.oid, "size": 0, "path": path}
    else:
        shown = {"type": "file", "oid": entry.oid, "size": entry.content.size, "path": path}
        if entry.large:
            shown["lfs"] = {
                "oid": entry.content.sha256,
                "size": entry.content.size,
                "pointerSize": entry.pointer_size,
            }
            if entry.content.sha256 in xet_hashes:
                shown["xetHash"] = xet_hashes[entry.content.sha256]
    if last is not None:
        shown["lastCommit"] = {
            "id": last.oid,
            "title": last.title,
            "date": moment(last.created_at),
        }
    return shown


def commit(made: Commit) -> dict[str, Any]:
    """Return what a history shows of one commit."""
    return {
        "id": made.oid,
        "title": made.title,
        "message": made.message,
        "date": moment(made.created_at),
        "authors": [{"user": made.author}],
    }


def reference(found: Reference, *, prefix: str) -> dict[str, Any]:
    """Return what lists show of a branch or tag."""
    return {
        "name": found.name.removeprefix(prefix),
        "ref": found.name,
        "targetCommit": found.commit_oid,
    }


def only(shown: Mapping[str, Any], fields: list[str]) -> dict[str, Any]:
    """Keep the identity of a repository and the fields that the client asked for."""
    return {key: shown.get(key) for key in ("_id", "id", *fields)}
