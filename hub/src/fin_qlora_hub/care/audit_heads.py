"""The end of the hub's record, noted elsewhere: who cuts the record off there cannot hide it.

A note is one line of JSON. With a key it is signed: it may then lie where others could change it.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fin_qlora_hub.audit.record import Head, canonical
from fin_qlora_hub.care.bundles import fingerprint
from fin_qlora_hub.errors import BadRequestError

_PURPOSE = b"fin-qlora-hub audit head 1\n"
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Note(BaseModel):
    """What was the last record at a moment, and who vouches for that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    sequence: Annotated[int, Field(ge=0)]
    digest: Sha256
    at: str
    key: Sha256 | None = None
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")] | None = None

    def signed_bytes(self) -> bytes:
        """Return what a signature is made over."""
        return _PURPOSE + canonical(self.model_dump(exclude={"signature"}))


def note(head: Head, *, key: Ed25519PrivateKey | None = None) -> Note:
    """Note the end of the record, signed where there is a key."""
    made = Note(
        sequence=head.sequence,
        digest=head.digest,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        key=None if key is None else fingerprint(key.public_key()),
    )
    if key is None:
        return made
    signature = key.sign(made.signed_bytes()).hex()
    return made.model_copy(update={"signature": signature})


def read_notes(text: str, *, trusted: Sequence[Ed25519PublicKey] = ()) -> list[Head]:
    """Read notes, one a line; with `trusted` keys each must be signed by one of them."""
    keys = {fingerprint(key): key for key in trusted}
    found = []
    for line in filter(str.strip, text.splitlines()):
        try:
            one = Note.model_validate(json.loads(line))
        except (ValueError, ValidationError):
            raise BadRequestError(
                "That is no note of `fin-qlora-hub audit head`: each line is one of JSON."
            ) from None
        if keys:
            _check_signature(one, keys)
        found.append(Head(one.sequence, one.digest))
    return found


def _check_signature(one: Note, keys: dict[str, Ed25519PublicKey]) -> None:
    key = keys.get(one.key or "")
    try:
        if key is None:
            raise InvalidSignature
        key.verify(bytes.fromhex(one.signature or ""), one.signed_bytes())
    except InvalidSignature:
        raise BadRequestError(
            f"The note of record {one.sequence} is not signed by a key that you trust."
        ) from None
