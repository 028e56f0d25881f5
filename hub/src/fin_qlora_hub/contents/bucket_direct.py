"""Direct transfer to and from a bucket; what clients send comes to `incoming/` and `parts/`."""

import hashlib
from collections.abc import Collection, Iterator

from fin_qlora_hub.contents.direct import DOWNLOAD_SECONDS, UPLOAD_SECONDS
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.stores import bucket_blobs, bucket_parts
from fin_qlora_hub.stores.blobs import Content
from fin_qlora_hub.stores.bucket import MAX_PUT_BYTES, WHOLE_PIECE_BYTES, Bucket
from fin_qlora_hub.stores.bucket_blobs import SentBlob
from fin_qlora_hub.stores.presigning import Presigner
from fin_qlora_hub.xet import bucket_files
from fin_qlora_hub.xet.access import Access

FOLDER = "incoming"


def presigner(bucket: Bucket, settings: Settings) -> Presigner | None:
    """Return what signs addresses for clients, None where all is to go through the hub.

    It needs keys of its own: those that a machine gets from its surroundings are the driver's.
    """
    if not settings.presigned_transfer:
        return None
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    if key is None or secret is None:
        return None
    token = settings.s3_session_token
    return Presigner(
        base=bucket.place.base(settings.s3_public_endpoint),
        region=bucket.place.region,
        access_key_id=key.get_secret_value(),
        secret_access_key=secret.get_secret_value(),
        session_token=None if token is None else token.get_secret_value(),
    )


class BucketDirect:
    """Addresses of one bucket."""

    largest_upload = MAX_PUT_BYTES

    def __init__(self, bucket: Bucket, presigner: Presigner) -> None:
        self._bucket = bucket
        self._presigner = presigner

    def content_url(self, sha256: str, *, media_type: str, disposition: str) -> str:
        """Sign a GET, with the headers that the answer will have."""
        query = {
            "response-cache-control": "private, max-age=900",
            "response-content-disposition": disposition,
            "response-content-type": media_type,
        }
        name = bucket_blobs.name_of(sha256)
        return self._url("GET", name, seconds=DOWNLOAD_SECONDS, query=query)

    def xorb_url(self, xorb: str, made: int, *, start: int, end: int) -> str:
        """Sign a GET with one header `Range`."""
        name = bucket_files.name_of(xorb, made)
        headers = {"range": f"bytes={start}-{end - 1}"}
        return self._url("GET", name, seconds=DOWNLOAD_SECONDS, headers=headers)

    def upload_url(self, access: Access, sha256: str, *, size: int) -> str:
        """Sign a PUT with one length."""
        return self._put(_name(access, sha256), size)

    def part_url(self, upload: str, number: int, *, size: int) -> str:
        """Sign a PUT with one length."""
        return self._put(bucket_parts.name_of(upload, number), size)

    def arrived(self, access: Access, sha256s: Collection[str]) -> dict[str, int]:
        """Look for the objects, many at a time."""
        names = {_name(access, sha256): sha256 for sha256 in sha256s}
        found = self._bucket.find_all(names)
        return {names[name]: one.size for name, one in found.items()}

    def take_over(self, access: Access, sha256: str, *, size: int) -> SentBlob:
        """Copy the object through the hub: the bytes that are hashed are those that are kept.

        A copy within the store would be quicker, but whoever has the address could send other bytes
        in between.
        """
        name = _name(access, sha256)
        pieces = self._bucket.read(name, length=size, piece_bytes=WHOLE_PIECE_BYTES)
        try:
            self._bucket.put_pieces(
                bucket_blobs.name_of(sha256), _checked(pieces, sha256, size=size), size=size
            )
        except BadRequestError:
            self._bucket.remove(name)
            raise
        return SentBlob(self._bucket, Content(sha256, None, size))

    def forget(self, access: Access, sha256: str) -> None:
        """Remove the object."""
        self._bucket.remove(_name(access, sha256))

    def _put(self, name: str, size: int) -> str:
        headers = {"content-length": str(size)}
        return self._url("PUT", name, seconds=UPLOAD_SECONDS, headers=headers)

    def _url(
        self,
        method: str,
        name: str,
        *,
        seconds: int,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> str:
        key = self._bucket.place.key(name)
        return self._presigner.url(method, key, seconds=seconds, headers=headers, query=query)


def _checked(pieces: Iterator[bytes], sha256: str, *, size: int) -> Iterator[bytes]:
    """Yield pieces, and fail after the last one if they are not what was announced."""
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        yield piece
    if (digest.hexdigest(), length) != (sha256, size):
        raise BadRequestError(
            f"{size:,} bytes with the SHA-256 {sha256} were announced, {length:,} bytes with "
            f"{digest.hexdigest()} came: nothing was stored. Send them again."
        )


def _name(access: Access, sha256: str) -> str:
    return f"{FOLDER}/{access.repository_id}/{access.user_id}/{sha256}"
