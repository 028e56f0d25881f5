"""Bundles: repositories as one signed file, to be carried to a site without a network.

A bundle is a tar file of plain files in this order:

    manifest.json         which repositories and contents follow, with size and SHA-256 of each
    manifest.sig          the Ed25519 signature of that, and the public key's fingerprint
    repositories/0.json   commits, folders, branches and tags of the first repository
    contents/SHA256       every file of every commit, whole

Whoever reads one needs the public key of a signer whom they trust. Nothing is read before the
signature of the manifest is right, and nothing is believed that the manifest does not vouch for.
"""

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Annotated, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fin_qlora_hub.errors import AlreadyExistsError, BadBundleError, BadRequestError

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_MANIFEST, _SIGNATURE = "manifest.json", "manifest.sig"
_PURPOSE = b"fin-qlora-hub bundle 1\n"
_CHUNK = 1024 * 1024

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    """A part of a bundle, which has these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Strict):
    """A file of a bundle; `size` is in bytes."""

    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


class Manifest(Strict):
    """What a bundle holds: descriptions of repositories, and contents."""

    version: Literal[1] = 1
    hub: str
    created_at: str
    repositories: list[Part]
    contents: list[Part]


class _Signature(Strict):
    algorithm: Literal["ed25519"] = "ed25519"
    key: Sha256
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]


@dataclass(frozen=True)
class Opened:
    """A bundle whose manifest is signed by somebody trusted; its parts come in order, once."""

    manifest: Manifest
    signer: str
    _tar: tarfile.TarFile

    def repositories(self) -> Iterator[bytes]:
        """Yield the description of each repository, verified."""
        for number, part in enumerate(self.manifest.repositories):
            data = b"".join(self._read(f"repositories/{number}.json", part))
            yield data

    def contents(self) -> Iterator[tuple[Part, Iterator[bytes]]]:
        """Yield each content as pieces; they have been verified once the last one has come."""
        for part in self.manifest.contents:
            yield part, self._read(f"contents/{part.sha256}", part)
        if self._tar.next() is not None:
            raise BadBundleError("The bundle goes on after its last part.")

    def _read(self, name: str, part: Part) -> Iterator[bytes]:
        handle = _next(self._tar, name, size=part.size)
        digest = hashlib.sha256()
        with damage_named():
            while piece := handle.read(_CHUNK):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != part.sha256:
            raise BadBundleError(f"{name} of the bundle is not what was signed.")


class BundleWriter:
    """A bundle that is being written; its parts must come in the order of the manifest."""

    def __init__(self, handle: IO[bytes], manifest: Manifest, key: Ed25519PrivateKey) -> None:
        self._tar = tarfile.open(fileobj=handle, mode="w")  # noqa: SIM115
        body = manifest.model_dump_json().encode()
        signature = _Signature(
            key=fingerprint(key.public_key()), signature=key.sign(_PURPOSE + body).hex()
        )
        self._add(_MANIFEST, BytesIO(body), size=len(body))
        signed = signature.model_dump_json().encode()
        self._add(_SIGNATURE, BytesIO(signed), size=len(signed))

    def repository(self, number: int, data: bytes) -> None:
        """Write the description of a repository."""
        self._add(f"repositories/{number}.json", BytesIO(data), size=len(data))

    def content(self, part: Part, pieces: Iterable[bytes]) -> None:
        """Write a content; raises BadBundleError where the bytes are not those of the manifest."""
        reader = _Pieces(pieces)
        with damage_named():
            self._add(f"contents/{part.sha256}", reader, size=part.size)
        if reader.digest.hexdigest() != part.sha256:
            raise BadBundleError(
                f"The content {part.sha256} has changed on the disk: put it back from a copy."
            )

    def close(self) -> None:
        """Write the end of the bundle."""
        self._tar.close()

    def _add(self, name: str, handle: "IO[bytes] | _Pieces", *, size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        self._tar.addfile(member, handle)  # type: ignore[arg-type]  # it only reads


class _Pieces:
    """Pieces of bytes as something to read from; they are hashed on the way."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        self.digest.update(data)
        return data


def open_bundle(handle: IO[bytes], trusted: Sequence[Ed25519PublicKey]) -> Opened:
    """Read the manifest of a bundle; raises BadBundleError unless somebody trusted signed it."""
    with damage_named():
        tar = tarfile.open(fileobj=handle, mode="r|")  # noqa: SIM115
    body = _next(tar, _MANIFEST).read()
    try:
        signature = _Signature.model_validate_json(_next(tar, _SIGNATURE).read())
        known = {fingerprint(key): key for key in trusted}
        if signature.key not in known:
            raise BadBundleError(
                f"The bundle was signed with the key {signature.key[:16]}…, which is none of those "
                "that you trust (--trust)."
            )
        known[signature.key].verify(bytes.fromhex(signature.signature), _PURPOSE + body)
        manifest = Manifest.model_validate_json(body)
    except (ValidationError, InvalidSignature) as error:
        raise BadBundleError("The bundle's signature is not right: it was changed.") from error
    return Opened(manifest, signature.key, tar)


def new_key(path: Path) -> Path:
    """Make a key to sign bundles with; return the file of the public key, `PATH.pub`."""
    public = path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    private_text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public_text = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for target, text, mode in ((path, private_text, 0o600), (public, public_text, 0o644)):
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            raise AlreadyExistsError(f"{target} exists: a key is never written over.") from None
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(text)
    return public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a key to sign with; raises BadRequestError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadRequestError(f"{path} is no Ed25519 key: make one with `fin-qlora-hub key`.")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read the key of a signer who is trusted; raises BadRequestError."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BadRequestError(f"{path} is no public Ed25519 key.")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a public key's 32 bytes."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


@contextmanager
def damage_named() -> Iterator[None]:
    """Turn what a reader of tar files says of a damaged one into a sentence."""
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise BadBundleError(f"The bundle is cut short or damaged ({error}).") from error


def _next(tar: tarfile.TarFile, name: str, *, size: int | None = None) -> IO[bytes]:
    with damage_named():
        member = tar.next()
        if member is None or member.name != name or not member.isreg():
            raise BadBundleError(f"The bundle is damaged: {name} does not stand where it should.")
        if member.size > MAX_MANIFEST_BYTES if size is None else member.size != size:
            raise BadBundleError(f"The bundle is damaged: {name} has {member.size:,} bytes.")
        handle = tar.extractfile(member)
    assert handle is not None
    return handle
