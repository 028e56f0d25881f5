"""A job without secrets shows who it is, and gets a token for what it is to do, no more."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from issuer import Issuer, Key, running_issuer
from jwt.warnings import InsecureKeyLengthWarning
from sqlalchemy import select, update
from waiting import wait_until

from fin_qlora_hub.errors import InvalidTokenError, UnusableDataError
from fin_qlora_hub.metadata.tables import Token
from fin_qlora_hub.outgoing import Outgoing, OutgoingError
from fin_qlora_hub.signing_in import exchanging
from fin_qlora_hub.signing_in.issuers import PAUSE_SECONDS, STALE_SECONDS, Keys, verify
from fin_qlora_hub.signing_in.trust import Issuer as Trusted
from fin_qlora_hub.signing_in.trust import Rule, read_trust

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
PUBLIC = "https://hub.example"
LOOPBACK = ("127.0.0.0/8",)
RULES = """
[[jobs]]
issuer = "{issuer}"
algorithms = ["RS256", "ES256", "EdDSA"]

[[jobs.rules]]
claims = {{ sub = "project_path:risk/*:ref:main", ref_protected = "true" }}
user = "walter"
role = "write"
resources = ["desk/ner", "datasets/desk/news"]

[[jobs.rules]]
claims = {{ sub = "project_path:risk/reader:*:*" }}
user = "bob"
resources = ["desk"]
"""
JOB = {"sub": "project_path:risk/train:ref:main", "ref_protected": "true"}


@pytest.fixture(scope="module")
def issuer():
    with running_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def trusting(issuer, open_a_hub, tmp_path_factory):
    """A hub that believes the issuer."""
    folder = tmp_path_factory.mktemp("trusting")
    (folder / "trust.toml").write_text(RULES.format(issuer=issuer.url))
    with open_a_hub(
        folder / "data",
        trust_file=folder / "trust.toml",
        public_url=PUBLIC,
        outgoing_networks=LOOPBACK,
    ) as hub:
        with hub.http() as http:
            for name in ("desk/ner", "desk/other"):
                assert http.post("/api/repos/create", json={"name": name}).status_code == 200
        yield hub


def exchange(hub, token: str, resource: str = "desk/ner", **fields: str) -> httpx.Response:
    body = {
        "grant_type": GRANT,
        "subject_token_type": ID_TOKEN,
        "subject_token": token,
        "resource": resource,
        **fields,
    }
    with hub.http("anonymous") as http:
        return http.post("/oauth/token", json=body)


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    assert answer.json()["error_description"]
    return answer.json()["error"]


def test_a_job_gets_a_token(trusting, issuer) -> None:
    given = exchange(trusting, issuer.sign(aud=PUBLIC, **JOB)).json()
    assert (given["token_type"], given["expires_in"]) == ("bearer", 3600)
    with trusting.http("anonymous") as http:
        http.headers["Authorization"] = f"Bearer {given['access_token']}"
        told = http.get("/api/whoami-v2").json()
        assert (told["name"], told["auth"]["type"]) == ("walter", "oauth")
        assert http.get("/api/models/desk/ner").status_code == 200
        assert http.get("/api/models/desk/other").status_code in (403, 404)
        settings = {"visibility": "private"}
        assert http.put("/api/models/desk/ner/settings", json=settings).status_code == 200
        answer = http.post("/api/repos/create", json={"name": "desk/x"})
        assert answer.status_code == 403


def test_a_new_token_works_where_others_fail(issuer, start_hub, tmp_path) -> None:
    """Many jobs share an address; one that asks with a wrong token must not keep out the others."""
    (tmp_path / "trust.toml").write_text(RULES.format(issuer=issuer.url))
    with start_hub(
        tmp_path / "data",
        trust_file=tmp_path / "trust.toml",
        public_url=PUBLIC,
        outgoing_networks=LOOPBACK,
        failures_per_minute=3,
    ) as hub:

        def status(token: str) -> int:
            with hub.http("anonymous") as http:
                http.headers["Authorization"] = f"Bearer {token}"
                return http.get("/api/whoami-v2").status_code

        assert [status(f"fqh_wrong{n}") for n in range(4)] == [401, 401, 401, 429]
        given = exchange(hub, issuer.sign(aud=PUBLIC, **JOB)).json()
        assert status(given["access_token"]) == 200


def test_the_stock_client(issuer, start_hub, tmp_path, run_python) -> None:
    """Two variables, no secret; the audience is the address that the client uses."""
    (tmp_path / "trust.toml").write_text(RULES.format(issuer=issuer.url))
    options = {"trust_file": tmp_path / "trust.toml", "outgoing_networks": LOOPBACK}
    with start_hub(tmp_path / "first", **options) as known:
        unknown = exchange(known, issuer.sign(aud=known.url, **JOB))
        assert "PUBLIC_URL" in unknown.json()["error_description"]
    text = RULES.format(issuer=issuer.url).replace(
        "algorithms =", 'audience = "the hub"\nalgorithms =', 1
    )
    (tmp_path / "trust.toml").write_text(text)
    with start_hub(tmp_path / "second", **options) as hub:
        hub.api().create_repo("desk/ner")
        environment = hub.environment(tmp_path)
        del environment["HF_TOKEN"]
        environment |= {
            "HF_OIDC_RESOURCE": "desk/ner",
            "HF_OIDC_ID_TOKEN": issuer.sign(aud="the hub", **JOB),
        }
        code = (
            "from huggingface_hub import HfApi; api = HfApi();"
            "api.upload_file(path_or_fileobj=b'w' * 99, path_in_repo='w.safetensors',"
            " repo_id='desk/ner'); print(api.whoami()['name'])"
        )
        done = run_python("-c", code, env=environment)
        assert done.stdout == "walter\n", done.stderr
        assert hub.api().list_repo_commits("desk/ner")[0].authors == ["walter"]
        environment["HF_OIDC_RESOURCE"] = "desk/other"
        done = run_python("-c", code, env=environment)
        assert "a rule for its claims" in done.stderr


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "https://other.example"}, "udience"),
        ({"aud": PUBLIC + "/"}, "udience"),
        ({"aud": [PUBLIC, "https://other.example"]}, "others too"),
        ({"aud": None}, "aud"),
        ({"exp": int(time.time()) - 100}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": int(time.time()) + 3 * 24 * 3600}, "more than a day"),
        ({"nbf": int(time.time()) + 1000}, "not yet valid"),
        ({"iat": int(time.time()) + 1000}, "not yet valid"),
        ({"iat": None}, "iat"),
        ({"sub": None}, "sub"),
        ({"iss": "https://issuer.example"}, "does not know the issuer"),
        ({"iss": None}, "does not know the issuer"),
    ],
)
def test_claims_that_do_not_count(trusting, issuer, claims, why) -> None:
    answer = exchange(trusting, issuer.sign(**{"aud": PUBLIC, **JOB, **claims}))
    assert refused(answer) == "invalid_grant"
    assert why in answer.json()["error_description"]


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "project_path:risk/train/evil:ref:main"},  # a star is one segment
        {"sub": "project_path:risk/train:ref:main:x"},
        {"sub": "xproject_path:risk/train:ref:main"},
        {"sub": "project_path:risk/train:ref:other"},
        {"sub": "project_path:risk/train:ref:main\n"},
        {"ref_protected": "false"},
        {"ref_protected": None},
        {"ref_protected": ["true"]},
    ],
)
def test_jobs_that_no_rule_means(trusting, issuer, claims) -> None:
    answer = exchange(trusting, issuer.sign(aud=PUBLIC, **{**JOB, **claims}))
    assert refused(answer) == "invalid_target"


def test_a_claim_that_is_true(trusting, issuer) -> None:
    token = issuer.sign(aud=PUBLIC, **{**JOB, "ref_protected": True})
    assert exchange(trusting, token).status_code == 200


@pytest.mark.parametrize("resource", ["desk", "desk/other", "datasets/desk/ner", "alice", "a/b/c"])
def test_resources_that_the_rule_does_not_name(trusting, issuer, resource) -> None:
    token = issuer.sign(aud=PUBLIC, **JOB)
    assert refused(exchange(trusting, token, resource)) == "invalid_target"


def test_a_rule_for_a_namespace_holds_for_what_is_in_it(trusting, issuer) -> None:
    token = issuer.sign(aud=PUBLIC, sub="project_path:risk/reader:ref:main")
    given = exchange(trusting, token, "desk/other").json()["access_token"]
    with trusting.http("anonymous") as http:
        http.headers["Authorization"] = f"Bearer {given}"
        assert http.get("/api/models/desk/other").status_code == 200
        assert http.get("/api/models/desk/ner").status_code in (403, 404)
        assert (
            http.request("DELETE", "/api/repos/delete", json={"name": "desk/other"}).status_code
            == 403
        )


def test_signatures(trusting, issuer) -> None:
    """Only a key that the issuer publishes, by an algorithm that was named, and no other."""
    claims = {"aud": PUBLIC, **JOB}
    good = issuer.sign(**claims)
    head, body, signature = good.split(".")
    forged = [
        issuer.sign(key=Key("one"), **claims),  # another key of the same name
        issuer.sign(key=Key("unknown"), **claims),
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        jwt.encode(jwt.decode(good, options={"verify_signature": False}), None, algorithm="none"),
        _with_public_key_as_secret(issuer, claims),
        issuer.sign(key=_like(issuer.keys[0], "PS256"), **claims),
        issuer.sign(key=_like(issuer.keys[0], "RS512"), **claims),
        "x", "a.b.c", "", "é.é.é", "." * 20_000,
    ]  # fmt: skip
    for token in forged:
        assert exchange(trusting, token).status_code == 400, token[:60]
    assert exchange(trusting, good).status_code == 200


def _like(key: Key, algorithm: str) -> Key:
    other = Key(key.kid, "ES256")
    other.private, other.algorithm = key.private, algorithm
    return other


def _with_public_key_as_secret(issuer: Issuer, claims) -> str:
    """The oldest trick: a public key taken for a shared secret."""
    import base64
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = issuer.keys[0].private.public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    now = int(time.time())
    head = text(json.dumps({"alg": "HS256", "kid": "one"}).encode())
    body = text(json.dumps({"iss": issuer.url, "iat": now, "exp": now + 60, **claims}).encode())
    mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{text(mac)}"


@pytest.mark.parametrize("change", [{"subject_token_type": "x"}, {"resource": ""}])
def test_requests_that_make_no_sense(trusting, issuer, change) -> None:
    token = issuer.sign(aud=PUBLIC, **JOB)
    body = {"token": token, **change}
    assert refused(exchange(trusting, body.pop("token"), **body)) == "invalid_request"


@pytest.mark.parametrize("times", [{"exp": str(2**40)}, {"exp": 1e999}, {"iat": "0"}])
def test_times_that_are_none(trusting, issuer, times) -> None:
    assert refused(exchange(trusting, issuer.sign(aud=PUBLIC, **JOB, **times))) == "invalid_grant"


def test_an_issuer_that_hangs_keeps_nobody_else_waiting(issuer, start_hub, tmp_path) -> None:
    (tmp_path / "trust.toml").write_text(RULES.format(issuer=issuer.url))
    options = {"public_url": PUBLIC, "outgoing_networks": LOOPBACK}
    options["trust_file"] = tmp_path / "trust.toml"
    token, asked = issuer.sign(aud=PUBLIC, **JOB), len(issuer.asked)
    issuer.answering.clear()
    try:
        with (
            start_hub(tmp_path / "data", **options) as hub,
            ThreadPoolExecutor(45) as jobs,
            hub.http() as http,
        ):
            answers = [jobs.submit(exchange, hub, token) for _ in range(45)]
            wait_until(lambda: len(issuer.asked) > asked)
            for _ in range(30):  # while the others come in
                assert http.get("/api/whoami-v2", timeout=5).status_code == 200
            assert not any(answer.done() for answer in answers)
            issuer.answering.set()
    finally:
        issuer.answering.set()


def test_a_user_who_is_not_there(issuer, start_hub, tmp_path) -> None:
    text = RULES.format(issuer=issuer.url).replace('"walter"', '"nobody"')
    (tmp_path / "trust.toml").write_text(text)
    with start_hub(
        tmp_path / "data",
        trust_file=tmp_path / "trust.toml",
        public_url=PUBLIC,
        outgoing_networks=LOOPBACK,
    ) as hub:
        assert refused(exchange(hub, issuer.sign(aud=PUBLIC, **JOB))) == "invalid_target"


def test_old_tokens_go(trusting, issuer) -> None:
    exchange(trusting, issuer.sign(aud=PUBLIC, **JOB))
    with trusting.hub.database.writing() as session:
        past = datetime.now(UTC) - timedelta(days=2)
        session.execute(update(Token).where(Token.kind == "exchange").values(expires_at=past))
    given = exchange(trusting, issuer.sign(aud=PUBLIC, **JOB)).json()["access_token"]
    with trusting.hub.database.reading() as session:
        held = session.scalars(select(Token).filter_by(kind="exchange")).all()
    assert [one.lookup for one in held] == [given[:12]]
    assert exchanging.TOKEN_SECONDS == 3600


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys(issuer):
    """The keys of the issuer as a hub keeps them, and the clock by which it does."""
    clock = Clock()
    trusted = Trusted(issuer=issuer.url, algorithms=["RS256", "ES256"])
    issuer.asked.clear()
    before = list(issuer.published)
    yield Keys(trusted, Outgoing(_networks()), now=clock), clock
    issuer.published, issuer.replies = before, {}


def _networks():
    from ipaddress import ip_network

    return [ip_network(one) for one in LOOPBACK]


def test_keys_are_kept(issuer, keys) -> None:
    kept, clock = keys
    token = issuer.sign(aud="a")
    for _ in range(3):
        verify(token, kept, audience="a")
    assert issuer.asked == ["GET /.well-known/openid-configuration", "GET /keys"]
    clock.now += 3601
    verify(token, kept, audience="a")
    assert issuer.asked.count("GET /keys") == 2


def test_a_new_key_is_found_and_strange_ones_do_not_hammer_the_issuer(issuer, keys) -> None:
    kept, clock = keys
    verify(issuer.sign(aud="a"), kept, audience="a")
    strange = issuer.sign(key=Key("strange", "ES256"), aud="a")
    for _ in range(5):
        with pytest.raises(InvalidTokenError):
            verify(strange, kept, audience="a")
    assert issuer.asked.count("GET /keys") == 1
    second = Key("two", "ES256")
    issuer.published = [second.public]
    clock.now += PAUSE_SECONDS
    verify(issuer.sign(key=second, aud="a"), kept, audience="a")
    with pytest.raises(InvalidTokenError):  # taken out by its issuer
        verify(issuer.sign(aud="a"), kept, audience="a")


def test_an_issuer_that_is_away(issuer, keys) -> None:
    kept, clock = keys
    token = issuer.sign(aud="a")
    verify(token, kept, audience="a")
    issuer.replies = {"/keys": (503, b"")}
    clock.now += STALE_SECONDS / 2
    verify(token, kept, audience="a")
    clock.now += STALE_SECONDS
    with pytest.raises(OutgoingError):
        verify(token, kept, audience="a")


@pytest.mark.parametrize(
    "reply",
    [
        (200, b"{"), (200, b"[]"), (200, b'{"keys": 1}'), (404, b'{"keys": []}'),
        (302, b""), (200, b"[" * 100_000), (200, b" " * 300_000),
    ],
)  # fmt: skip
def test_keys_that_are_none(issuer, keys, reply) -> None:
    issuer.replies = {"/keys": reply}
    with pytest.raises(OutgoingError):
        verify(issuer.sign(aud="a"), keys[0], audience="a")


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"}, {"alg": "RS512"}, {"kid": "two"}, {"n": "AQAB"}, {"kty": "oct", "k": "AA"},
        {"n": 1}, {"kty": None},
    ],
)  # fmt: skip
def test_keys_for_something_else(issuer, keys, change) -> None:
    issuer.published = [{**issuer.keys[0].public, **change}]
    with pytest.raises(InvalidTokenError):
        verify(issuer.sign(aud="a"), keys[0], audience="a")


def test_a_short_key(issuer, keys) -> None:
    short = Key("short", bits=1024)
    issuer.published = [short.public]
    with pytest.warns(InsecureKeyLengthWarning):
        token = issuer.sign(key=short, aud="a")
    with pytest.raises(InvalidTokenError):
        verify(token, keys[0], audience="a")


def test_without_a_name_there_must_be_no_choice(issuer, keys) -> None:
    kept, _ = keys
    nameless = {name: value for name, value in issuer.keys[0].public.items() if name != "kid"}
    issuer.published = [nameless]
    verify(issuer.sign(aud="a", headers={"kid": None}), kept, audience="a")
    another = {name: value for name, value in Key("x").public.items() if name != "kid"}
    issuer.published = [nameless, another]
    fresh = Keys(kept.issuer, Outgoing(_networks()))
    with pytest.raises(InvalidTokenError):
        verify(issuer.sign(aud="a", headers={"kid": None}), fresh, audience="a")


def test_other_machines_are_not_asked(issuer, keys) -> None:
    told = {"issuer": issuer.url, "jwks_uri": "http://127.0.0.2/keys"}
    where = "/.well-known/openid-configuration"
    issuer.replies = {where: (200, json.dumps(told).encode())}
    with pytest.raises(OutgoingError, match="on another machine"):
        verify(issuer.sign(aud="a"), keys[0], audience="a")
    issuer.replies = {where: (200, json.dumps({**told, "issuer": "x"}).encode())}
    keys[1].now += PAUSE_SECONDS
    with pytest.raises(OutgoingError, match="called otherwise"):
        verify(issuer.sign(aud="a"), keys[0], audience="a")


def test_keys_in_a_file(issuer, tmp_path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": issuer.published}))
    trusted = Trusted(issuer=issuer.url, jwks_file=path)
    issuer.asked.clear()
    verify(issuer.sign(aud="a"), Keys(trusted, Outgoing()), audience="a")
    assert issuer.asked == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "TOML"),
        ("x = 1", "x"),
        ('[[jobs]]\nissuer = "https://a"', "rules"),
        (RULES.format(issuer="https://a").replace("RS256", "HS256"), "algorithms"),
        (RULES.format(issuer="https://a").replace("RS256", "none"), "algorithms"),
        (RULES.format(issuer="https://a") * 2, "twice"),
        (RULES.format(issuer="ftp://a"), "issuer"),
        (RULES.format(issuer="https://a").replace("desk/ner", "desk/*"), "not allowed"),
        (RULES.format(issuer="https://a").replace('"write"', '"admin"'), "role"),
    ],
)
def test_files_that_are_wrong(tmp_path, text, why) -> None:
    (tmp_path / "trust.toml").write_text(text)
    with pytest.raises(UnusableDataError, match=why):
        read_trust(tmp_path / "trust.toml")


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(UnusableDataError, match="cannot be read"):
        read_trust(Path(tmp_path / "missing"))
    assert read_trust(None).jobs == ()


def test_stars_alone_say_nothing() -> None:
    for pattern in ("*", "**", "*:*", "*/*"):
        with pytest.raises(ValueError, match="more than stars"):
            Rule(claims={"sub": pattern}, user="a", resources=["a"])
