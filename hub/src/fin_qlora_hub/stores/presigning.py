"""Signed addresses of an S3 bucket: Signature Version 4 in the query string.

Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". What is
among the signed headers a client must send exactly so: the range of a download, the length of an
upload.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import SplitResult, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Presigner:
    """Signs addresses below `base` with the keys of one account; never shows the secret ones."""

    base: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def url(
        self,
        method: str,
        key: str,
        *,
        seconds: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        now: datetime | None = None,
    ) -> str:
        """Return an address that is good for one method, an object and some headers, for a while.

        `headers` have lower-case names; `now` is the present moment unless it is given.
        """
        moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        address = urlsplit(self.base)
        host = _host(address)
        signed = {"host": host, **(headers or {})}
        names = ";".join(sorted(signed))
        parameters = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": names,
            **(query or {}),
        }
        if self.session_token is not None:
            parameters["X-Amz-Security-Token"] = self.session_token
        path = f"{address.path}/{quote(key, safe='-_.~/')}"
        pairs = sorted(
            (quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parameters.items()
        )
        text = "&".join(f"{name}={value}" for name, value in pairs)
        lines = [f"{name}:{signed[name].strip()}\n" for name in sorted(signed)]
        request = "\n".join([method, path, text, "".join(lines), names, "UNSIGNED-PAYLOAD"])
        digest = hashlib.sha256(request.encode()).hexdigest()
        message = "\n".join([_ALGORITHM, moment, scope, digest])
        signature = _mac(self._key(moment[:8]), message).hex()
        return f"{address.scheme}://{host}{path}?{text}&X-Amz-Signature={signature}"

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret_access_key}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = _mac(key, part)
        return key


def _host(address: SplitResult) -> str:
    """Return the header `Host` that clients send: a port that the scheme implies is not in it."""
    host = address.netloc.rpartition("@")[2].lower()
    return host.removesuffix(f":{_PORTS.get(address.scheme)}")


def _mac(key: bytes, message: str) -> bytes:
    return hmac.new(key, message.encode(), hashlib.sha256).digest()
