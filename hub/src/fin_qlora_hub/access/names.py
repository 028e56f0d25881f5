"""Which names repositories, namespaces, branches, tags and files may have."""

import re
import unicodedata

from fin_qlora_hub.errors import BadRequestError, IllegalPathError
from fin_qlora_hub.text import quoted

RESERVED_NAMESPACES = frozenset(
    "admin api auth buckets collections datasets docs health healthz hub join kernels lfs login "
    "logout me models new oauth organizations papers settings signin spaces static users v1 v2 "
    "webhooks well-known xet".split()
)
# Each stands between a repository and a revision in some address of a file or a page.
RESERVED_REPOSITORIES = frozenset("blob commit raw resolve tree".split())
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_SHA_LIKE = re.compile(r"[0-9a-fA-F]{40}")
_FORBIDDEN_IN_REFERENCE = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")
_DRIVE = re.compile(r"[A-Za-z]:")
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{device}{number}" for device in ("com", "lpt") for number in "123456789¹²³"]
)
_SHORT_GIT = re.compile(r"git~[0-9]+")
# What some file systems drop from a name, beyond the category Cf, which no path may hold at all.
_DROPPED = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]")
_UNSEEN = frozenset(["Cc", "Cf", "Cs"])
MAX_SEGMENT_BYTES = 255
MAX_PATH_BYTES = 1024


def check_name(name: str, *, what: str) -> str:
    """Return `name` if it can name a repository, a user or an organization, else refuse it."""
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.lower().endswith(".git"):
        raise BadRequestError(
            f"{what} name {quoted(name)} is not allowed: use 1 to 96 letters, digits, '.', '_' or "
            "'-', begin and end with none of '.' and '-', without '--', '..' or the ending '.git'."
        )
    return name


def check_repository_name(name: str) -> str:
    """Return `name` if a repository may have it, else refuse it."""
    check_name(name, what="Repository")
    if name.lower() in RESERVED_REPOSITORIES:
        raise BadRequestError(f"Repository name {name!r} is reserved by the hub: choose another.")
    return name


def check_namespace(name: str, *, what: str) -> str:
    """Return `name` if a user or an organization may have it, else refuse it."""
    check_name(name, what=what)
    if name.lower() in RESERVED_NAMESPACES | RESERVED_REPOSITORIES:
        raise BadRequestError(f"{what} name {name!r} is reserved by the hub: choose another.")
    return name


def check_reference_name(name: str, *, what: str) -> str:
    """Return `name` if git would take it for a branch or a tag and it looks like no hash."""
    segments = name.split("/")
    wrong = (
        not name
        or len(name.encode("utf-8", "replace")) > MAX_SEGMENT_BYTES
        or name.startswith(("-", "refs/"))
        or name in ("@", "HEAD", "refs")
        or name.endswith(".")
        or ".." in name
        or "@{" in name
        or _FORBIDDEN_IN_REFERENCE.search(name)
        or _SHA_LIKE.fullmatch(name)
        or _has_unseen(name)
        or any(not s or s.startswith(".") or s.endswith(".lock") for s in segments)
    )
    if wrong:
        raise BadRequestError(
            f"{what} name {quoted(name)} is not allowed: it must be a valid git reference, not "
            "begin with '-' or 'refs/' and not look like a commit hash."
        )
    return name


def normalise_path(path: str) -> str:
    """Return the form (Unicode NFC) in which the hub stores and looks up a path."""
    return unicodedata.normalize("NFC", path)


def collision_key(path: str) -> str:
    """Return what two paths share when a case-insensitive disk could not tell them apart."""
    return unicodedata.normalize("NFC", path.casefold())


def check_path_length(path: str) -> str:
    """Return `path` if it is short enough to be kept, whatever it names, else refuse it."""
    if len(path.encode("utf-8", "replace")) > MAX_PATH_BYTES:
        raise IllegalPathError(
            f"Path {quoted(path)} is not allowed: it is longer than {MAX_PATH_BYTES} bytes."
        )
    return path


def check_path(path: str) -> str:
    """Return `path` in stored form if every operating system can hold it, else refuse it."""
    check_path_length(path)
    path = normalise_path(path)
    reason = _path_fault(path)
    if reason:
        raise IllegalPathError(f"Path {quoted(path)} is not allowed: {reason}.")
    return check_path_length(path)


def _path_fault(path: str) -> str:
    if not path:
        return "it is empty"
    if path.startswith("/"):
        return "it is absolute"
    if "\\" in path:
        return "it holds a backslash"
    if _has_unseen(path):
        return "it holds a control or an invisible character"
    return next(filter(None, map(_segment_fault, path.split("/"))), "")


def _segment_fault(segment: str) -> str:
    if segment in ("", ".", ".."):
        return f"it holds the segment {segment!r}"
    if _DRIVE.match(segment):
        # Windows leaves the folder for the drive wherever a client joins such a segment to a path.
        return f"the segment {quoted(segment)} begins with a drive letter"
    if segment[-1] in ". ":
        return f"the segment {quoted(segment)} ends with a dot or a space"
    # To Windows what follows a colon names a stream of the file before it.
    file = segment.split(":")[0]
    if file.rstrip(". ") == "":
        return f"the segment {quoted(segment)} names a stream of no file"
    seen = _DROPPED.sub("", file).casefold().rstrip(". ")
    if seen == ".git" or _SHORT_GIT.fullmatch(seen):
        return f"{quoted(segment)} belongs to git"
    if file.split(".")[0].rstrip(" ").casefold() in _WINDOWS_DEVICES:
        return f"{quoted(segment)} is a device name on Windows"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"a segment is longer than {MAX_SEGMENT_BYTES} bytes"
    return ""


def _has_unseen(text: str) -> bool:
    return any(unicodedata.category(character) in _UNSEEN for character in text)
