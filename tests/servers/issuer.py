"""An OpenID provider that only the tests use: on loopback, with keys made by them."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm


class Key:
    """A key pair with its name."""

    def __init__(self, kid: str, algorithm: str = "RS256", *, bits: int = 2048) -> None:
        self.kid, self.algorithm = kid, algorithm
        if algorithm.startswith(("RS", "PS")):
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
            maker = RSAAlgorithm
        elif algorithm.startswith("ES"):
            self.private = ec.generate_private_key(ec.SECP256R1())
            maker = ECAlgorithm
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()
            maker = OKPAlgorithm
        public = json.loads(maker.to_jwk(self.private.public_key()))
        self.public = {**public, "kid": kid, "use": "sig", "alg": algorithm}


class Issuer:
    """Signs identities; a person who comes to `/authorize` is whoever `person` says."""

    def __init__(self) -> None:
        self.keys = [Key("one")]
        self.published: list[dict[str, object]] = [self.keys[0].public]
        self.asked: list[str] = []
        self.replies: dict[str, tuple[int, bytes]] = {}
        self.person: dict[str, object] = {"sub": "p-1", "preferred_username": "alice"}
        self.spoil: dict[str, object] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.client = ("hub", "a secret")
        self.url = ""
        self.answering = threading.Event()
        self.answering.set()

    def sign(self, *, key: Key | None = None, headers: dict[str, object] | None = None, **claims):
        """Return an identity token; a claim that is None is left out."""
        key, now = key or self.keys[0], int(time.time())
        shown = {"kid": key.kid, **(headers or {})}
        all_claims = {"iss": self.url, "iat": now, "exp": now + 600, "sub": "job", **claims}
        return jwt.encode(
            {name: value for name, value in all_claims.items() if value is not None},
            key.private,
            algorithm=key.algorithm,
            headers={name: value for name, value in shown.items() if value is not None},
        )

    def answer(self, method: str, target: str, body: bytes, headers) -> tuple[int, bytes, str]:
        path, _, query = target.partition("?")
        self.asked.append(f"{method} {path}")
        self.answering.wait(30)
        if path in self.replies:
            return (*self.replies[path], "")
        if path == "/.well-known/openid-configuration":
            told = {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
            }
            return 200, json.dumps(told).encode(), ""
        if path == "/keys":
            return 200, json.dumps({"keys": self.published}).encode(), ""
        if path == "/authorize":
            return self._authorize(dict(parse_qsl(query)))
        if (method, path) == ("POST", "/token"):
            fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            return self._token(fields, headers.get("Authorization", ""))
        return 404, b"{}", ""

    def _authorize(self, asked: dict[str, str]) -> tuple[int, bytes, str]:
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"], "iss": self.url})
        return 302, b"", f"{asked['redirect_uri']}?{back}"

    def _token(self, fields: dict[str, str], shown: str) -> tuple[int, bytes, str]:
        asked = self.codes.pop(fields.get("code", ""), None)
        verifier = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        expected = base64.b64encode(":".join(map(_quoted, self.client)).encode()).decode()
        if (
            asked is None
            or base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != asked["code_challenge"]
            or fields.get("redirect_uri") != asked["redirect_uri"]
            or shown != f"Basic {expected}"
        ):
            return 400, b'{"error": "invalid_grant"}', ""
        claims = {"aud": self.client[0], "nonce": asked["nonce"], **self.person, **self.spoil}
        told = {"access_token": "x", "token_type": "Bearer", "id_token": self.sign(**claims)}
        return 200, json.dumps(told).encode(), ""


def _quoted(text: str) -> str:
    return urlencode({"": text})[1:]


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Run an issuer on a free port of the loopback address."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            status, content, location = issuer.answer(self.command, self.path, body, self.headers)
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
        assert urlsplit(issuer.url).port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join(20)
