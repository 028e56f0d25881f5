"""Another hub, asked through its public HTTP interface, with this hub's own token.

Nothing that it says is believed beyond its form: names, sizes and hashes are for the caller to
check. It may send the hub on to hosts that the administrator allows, which never get the token.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from fin_qlora_hub import __version__
from fin_qlora_hub.access.names import check_reference_name
from fin_qlora_hub.access.visibility import RepositoryName
from fin_qlora_hub.errors import BadRequestError, UpstreamError
from fin_qlora_hub.outgoing import ForbiddenAddressError, Outgoing, OutgoingError, Streamed
from fin_qlora_hub.settings import MIB, Settings
from fin_qlora_hub.text import Text, quoted, shortened

SECONDS = 30.0
IDLE_SECONDS = 30.0
MAX_JSON_BYTES = 32 * MIB
MAX_REDIRECTS = 4
MAX_PAGES = 200
_Value = TypeVar("_Value")
_Oid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Size = Annotated[int, Field(ge=0, lt=2**62)]
_Moment = Annotated[
    AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))
]
_REFERENCES = ("refs/heads/", "refs/tags/")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Found:
    """A revision of a repository: the name as its hub writes it, the commit, and the reference.

    `reference` is the full name of a branch or tag, None where a commit was asked for.
    """

    name: RepositoryName
    oid: str
    reference: str | None


@dataclass(frozen=True)
class UpstreamFile:
    """A file as another hub describes it; `sha256` is None for what stands in git itself."""

    path: str
    oid: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class UpstreamCommit:
    """What another hub says of a commit; `before` are the ids of older ones, newest first."""

    title: str
    message: str
    author: str
    moment: datetime
    before: tuple[str, ...]


class _Information(BaseModel):
    id: Text
    sha: _Oid
    disabled: bool = False


class _Named(BaseModel):
    name: Text
    target: Annotated[_Oid, Field(alias="targetCommit")]


class _References(BaseModel):
    branches: list[_Named] = []
    tags: list[_Named] = []


class _Large(BaseModel):
    oid: _Sha256
    size: _Size


class _Item(BaseModel):
    type: str
    path: Text
    oid: _Oid
    size: _Size = 0
    lfs: _Large | None = None


class _Author(BaseModel):
    user: Text = ""


class _Commit(BaseModel):
    id: _Oid
    title: Text = ""
    message: Text = ""
    date: _Moment
    authors: list[_Author] = []


_ITEMS = TypeAdapter(list[_Item])
_COMMITS = TypeAdapter(list[_Commit])


class Upstream:
    """The hub that is mirrored; every failure is an UpstreamError."""

    def __init__(self, settings: Settings, outgoing: Outgoing) -> None:
        assert settings.mirror_upstream is not None
        self.address = settings.mirror_upstream.rstrip("/")
        self._token = settings.mirror_token
        self._hosts = settings.mirror_download_hosts
        self._max_files = settings.max_operations
        self._outgoing = outgoing
        self._answers: set[Streamed] = set()
        self._guard = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Break off whatever is being read, and ask nothing more."""
        with self._guard:
            self._closed = True
            for answer in self._answers:
                answer.break_off()

    def find(self, wanted: RepositoryName, revision: str) -> Found:
        """Look up a branch, a tag or a commit."""
        full = revision if revision.startswith(_REFERENCES) else None
        revision = revision.removeprefix(_REFERENCES[0]).removeprefix(_REFERENCES[1])
        path = f"{_api(wanted)}/revision/{quote(revision, safe='')}"
        shown, _ = self._json(path, TypeAdapter(_Information))
        if shown.id.lower() != str(wanted).lower():
            raise UpstreamError(
                f"{wanted} is called {shortened(shown.id)} there: mirror it by that name.",
                lasting=True,
            )
        if shown.disabled:
            raise UpstreamError(f"{wanted} is disabled there.", lasting=True)
        namespace, _, name = shown.id.partition("/")
        found = RepositoryName(wanted.kind, namespace, name)
        return Found(found, shown.sha, self._reference(found, revision, shown.sha, full=full))

    def _reference(
        self, wanted: RepositoryName, revision: str, oid: str, *, full: str | None
    ) -> str | None:
        if full is None and _COMMIT.fullmatch(revision) and oid.startswith(revision):
            return None
        known, _ = self._json(f"{_api(wanted)}/refs", TypeAdapter(_References))
        # Whoever asks for a full name gets no branch or tag made that the other hub has not.
        for prefix, names in zip(_REFERENCES, (known.branches, known.tags), strict=True):
            name = prefix + revision
            if full in (None, name) and any(one.name == revision for one in names):
                try:
                    check_reference_name(revision, what="Branch")
                except BadRequestError as error:
                    raise UpstreamError(f"{wanted}: {error}", lasting=True) from error
                return name
        raise UpstreamError(
            f"{quoted(revision)} is no branch, tag or commit of {wanted} there.",
            lasting=True,
            absent=True,
        )

    def files(self, name: RepositoryName, oid: str) -> list[UpstreamFile]:
        """List all files of a commit."""
        path: str | None = f"{_api(name)}/tree/{oid}?{urlencode({'recursive': 'true'})}"
        found: list[UpstreamFile] = []
        for _ in range(MAX_PAGES):
            assert path is not None
            items, path = self._json(path, _ITEMS)
            found += [_file(item) for item in items if item.type == "file"]
            if len(found) > self._max_files:
                break
            if path is None:
                return found
        raise UpstreamError(
            f"{name} has more than {self._max_files:,} files there, which is more than this hub "
            "takes.",
            lasting=True,
        )

    def commit(self, name: RepositoryName, oid: str) -> UpstreamCommit:
        """Describe a commit and those shortly before it."""
        commits, _ = self._json(f"{_api(name)}/commits/{oid}", _COMMITS)
        if not commits or commits[0].id != oid:
            raise UpstreamError(f"{name} has a commit {oid} there without a history.", lasting=True)
        newest = commits[0]
        authors = [author.user for author in newest.authors if author.user]
        return UpstreamCommit(
            newest.title,
            newest.message,
            ", ".join(authors),
            newest.date,
            tuple(commit.id for commit in commits[1:]),
        )

    def read(
        self, name: RepositoryName, oid: str, file: UpstreamFile, *, start: int = 0
    ) -> Iterator[bytes]:
        """Yield the bytes of a file from `start`; they may be wrong, but never too many."""
        kind = "" if name.kind == "model" else f"{name.kind}s/"
        url = f"{self.address}/{kind}{name}/resolve/{oid}/{quote(file.path)}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        left = file.size - start
        with self._open(url, headers) as answer:
            if start and answer.status == 206:
                begins = answer.headers.get("content-range", "").startswith(f"bytes {start}-")
                skip = 0 if begins else -1
            else:
                skip = start if answer.status == 200 else -1
            if skip < 0:
                raise UpstreamError(f"{name} sends another part of {shortened(file.path)}.")
            for piece in answer.pieces():
                part = piece[skip:]
                skip = max(0, skip - len(piece))
                left -= len(part)
                if left < 0:
                    raise UpstreamError(
                        f"{shortened(file.path)} of {name} has more than the {file.size:,} bytes "
                        "that were announced.",
                        lasting=True,
                    )
                yield part
        if left:
            raise UpstreamError(f"{shortened(file.path)} of {name} ended {left:,} bytes too early.")

    def _json(self, path: str, form: TypeAdapter[_Value]) -> tuple[_Value, str | None]:
        url = path if path.startswith(self.address + "/") else f"{self.address}{path}"
        body = bytearray()
        with self._open(url, {"Accept": "application/json"}) as answer:
            for piece in answer.pieces():
                body += piece
                if len(body) > MAX_JSON_BYTES:
                    raise UpstreamError(f"{self.address} answers without end.", lasting=True)
            following = self._following(answer.headers.get("link", ""), url)
        try:
            return form.validate_json(bytes(body)), following
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UpstreamError(
                f"{self.address} answers what cannot be read ({place}: {first['msg']}).",
                lasting=True,
            ) from None

    def _following(self, link: str, url: str) -> str | None:
        address, _, rest = link.partition(">")
        if not address.startswith("<") or 'rel="next"' not in rest:
            return None
        following = urljoin(url, address[1:])
        if not following.startswith(self.address + "/"):
            raise UpstreamError(f"{self.address} continues a list elsewhere.", lasting=True)
        return following

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[Streamed]:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                sent = {"Accept-Encoding": "identity", "User-Agent": _AGENT, **headers}
                if self._token is not None and _origin(url) == _origin(self.address):
                    sent["Authorization"] = f"Bearer {self._token.get_secret_value()}"
                with self._outgoing.stream(
                    url, headers=sent, seconds=SECONDS, idle_seconds=IDLE_SECONDS
                ) as answer:
                    if answer.status in _REDIRECTS:
                        url = self._allowed(urljoin(url, answer.headers.get("location", "")))
                        continue
                    self._require_success(answer)
                    with self._noted(answer):
                        yield answer
                    return
        except ForbiddenAddressError as error:
            raise UpstreamError(str(error), lasting=True) from error
        except OutgoingError as error:
            raise UpstreamError(str(error)) from error
        raise UpstreamError(f"{self.address} redirects without end.", lasting=True)

    @contextmanager
    def _noted(self, answer: Streamed) -> Iterator[None]:
        with self._guard:
            if self._closed:
                raise UpstreamError(f"{self.address} is asked nothing more: this hub is stopping.")
            self._answers.add(answer)
        try:
            yield
        finally:
            with self._guard:
                self._answers.discard(answer)

    def _allowed(self, url: str) -> str:
        if _origin(url) == _origin(self.address):
            return url
        scheme, host = _origin(url)
        protected = scheme == "https" or self.address.startswith("http://")
        if not protected or not any(_fits(host, allowed) for allowed in self._hosts):
            raise UpstreamError(
                f"{self.address} sends the hub to {shortened(host)}, which is not in "
                "FIN_QLORA_HUB_MIRROR_DOWNLOAD_HOSTS.",
                lasting=True,
            )
        return url

    def _require_success(self, answer: Streamed) -> None:
        if answer.status in (200, 206):
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise UpstreamError(f"{self.address} compresses what should come as it is.")
            return
        code = shortened(answer.headers.get("x-error-code", ""), limit=40)
        said = shortened(answer.headers.get("x-error-message", ""))
        reason = " ".join(filter(None, [str(answer.status), code, said]))
        lasting = answer.status < 500 and answer.status not in (408, 429)
        absent = answer.status == 404 or code == "RepoNotFound"
        raise UpstreamError(f"{self.address} answers {reason}.", lasting=lasting, absent=absent)


_AGENT = f"fin-qlora-hub/{__version__}"


def _api(name: RepositoryName) -> str:
    return f"/api/{name.kind}s/{name}"


def _file(item: _Item) -> UpstreamFile:
    if item.lfs is None:
        return UpstreamFile(item.path, item.oid, item.size, None)
    return UpstreamFile(item.path, item.oid, item.lfs.size, item.lfs.oid)


def _origin(url: str) -> tuple[str, str]:
    """Return scheme and host, with the port where it is not the usual one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", ""
    usual: Any = {"http": 80, "https": 443}.get(parts.scheme)
    host = (parts.hostname or "").lower()
    return parts.scheme, host if port in (None, usual) else f"{host}:{port}"


def _fits(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
