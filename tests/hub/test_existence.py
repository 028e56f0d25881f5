"""Nobody can tell a private repository from one that is not there, whatever route they ask.

Every route of the application is asked, so that a new one cannot be forgotten: one that takes a
body needs an entry in BODIES, one that names no repository in NO_REPOSITORY.
"""

import json
import re
import threading
from collections.abc import Iterator
from itertools import count

import pytest
from sqlalchemy import event

from fin_qlora_hub.access.identity import Role, create_token
from fin_qlora_hub.access.reach import Reach
from fin_qlora_hub.app import build_routes

# What else stands in an address.
VALUES = {
    "kinds": "models",
    "revision": "main",
    "branch": "main",
    "tag": "main",
    "path": "w.safetensors",
    "folder": "d",
    "num": "1",
    "key": "0" * 24,
    "reference": "main",
    "status": "pending",
    "number": "0" * 24,
}
OID = "0" * 64
# Bodies by the end of the address; `{}` is the repository that is asked about.
BODIES: dict[str, object] = {
    "/api/repos/create": {"name": "{}"},
    "/api/repos/delete": {"name": "{}"},
    "/api/repos/move": {"fromRepo": "{}", "toRepo": "CALLER/x", "type": "model"},
    "/api/repos/move to it": {"fromRepo": "CALLER/own", "toRepo": "{}", "type": "model"},
    "/duplicate": {"repository": "CALLER/x"},
    "/duplicate to it": {"repository": "{}"},
    "/settings": {"visibility": "public"},
    "/preupload/{revision}": {"files": [{"path": "a", "size": 1}]},
    "/commit/{revision}": '{"key":"header","value":{"summary":"s"}}\n',
    "/lfs/objects/batch": {"operation": "upload", "objects": [{"oid": OID, "size": 1}]},
    "/lfs/objects/verify": {"oid": OID, "size": 1},
    "/lfs-files/batch": {"deletions": {"sha": [OID], "rewriteHistory": True}},
    "/lfs-files/duplicate": {"target": {"name": "CALLER/own"}, "files": [{"sha256": OID}]},
    "/lfs-files/duplicate to it": {"target": {"name": "{}"}, "files": [{"sha256": OID}]},
    "/paths-info/{revision}": {"paths": ["w.safetensors"]},
    "/branch/{branch}": {},
    "/tag/{revision}": {"tag": "t"},
    "/user-access-request/handle": {"user": "bob", "status": "accepted"},
    "/user-access-request/grant": {"user": "bob"},
    "/discussions": {"title": "a title", "description": "d", "pullRequest": False},
    "/comment": {"comment": "c"},
    "/title": {"title": "another title"},
    "/status": {"status": "closed"},
    "/edit": {"content": "c"},
}
# Those that name no repository; what they list is compared below.
NO_REPOSITORY = re.compile(
    r"/oauth/.*|/api/(users|organizations)/\{name\}/(overview|members)"
    r"|/api/whoami-v2|/api/agent-harnesses|/api/telemetry/.*|/v1/telemetry|/api/validate-yaml"
    r"|/healthz|/lfs/.*|/xet/.*|/api/\{kinds\}|/api/(organizations/\{namespace\}/)?settings/.*"
    r"|/api/collections.*|/api/\{kinds\}/\{name\}(/\{endpoint\}/\{rest\}|/like)?"
    r"|/api/users/\{user\}/.*"
    r"|/\{name\}/resolve/\{revision\}/\{path\}"
)
REFUSALS = ("RepoNotFound", "GatedRepo", "EntryNotFound", "Forbidden")
# Alice with a token that is limited to another repository is as good as a stranger.
STRANGERS = ("carol", "anonymous", "limited")
NUMBERS = count()
SEEN: list[int] = []


def routes() -> Iterator[tuple[str, str]]:
    waiting = list(build_routes().routes)
    while waiting:
        route = waiting.pop(0)
        if hasattr(route, "original_router"):
            waiting += route.original_router.routes
        else:
            yield from ((method, route.path_format) for method in sorted(route.methods))


def asked() -> Iterator[tuple[str, str, object]]:
    for method, path in routes():
        fitting = {end: end.removesuffix(" to it") for end in BODIES}
        fitting = {end: plain for end, plain in fitting.items() if path.endswith(plain)}
        longest = max(map(len, fitting.values()), default=0)
        ends = [end for end, plain in fitting.items() if len(plain) == longest]
        bodies = [BODIES[end] for end in ends if method not in ("GET", "HEAD")]
        if not NO_REPOSITORY.fullmatch(path):
            for body in bodies or [None]:
                yield method, path, body


ASKED = list(asked())


@pytest.fixture(scope="module", params=[False, True], ids=["closed", "open"])
def hub(request, tmp_path_factory, open_a_hub):
    folder = tmp_path_factory.mktemp("existence") / "data"
    with open_a_hub(folder, anonymous_read=request.param) as hub:
        for caller in ("alice", "carol"):
            hub.api(caller).create_repo(f"{caller}/own")
        with hub.hub.database.writing() as session:
            hub.tokens["limited"] = create_token(
                session, "alice", name="limited", role=Role.WRITE, reach=Reach.of(["alice/own"])
            )
        for kind in ("model", "dataset"):
            hub.api().create_repo("desk/secret", repo_type=kind)
            hub.api().create_repo("desk/former", repo_type=kind)
            hub.api().move_repo("desk/former", "alice/latter", repo_type=kind)
        yield hub


@pytest.fixture(scope="module")
def clients(hub):
    with (
        hub.http("carol") as carol,
        hub.http("anonymous") as anonymous,
        hub.http("limited") as limited,
        hub.http("alice") as alice,
    ):
        yield {"carol": carol, "anonymous": anonymous, "limited": limited, "alice": alice}


@pytest.fixture
def statements(hub):
    """What was asked of the database: a difference would be one of time, too."""
    found: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        # What answers requests, and not what goes on by itself. Whose a token is must be asked
        # again whenever that has changed anything.
        answering = threading.current_thread().name.startswith(("AnyIO", "writer"))
        asked_for_token = statement.startswith("BEGIN") or "FROM tokens" in statement
        if answering and not asked_for_token:
            found.append(statement)

    engine = hub.hub.database._reading
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def ask(
    clients, caller: str, method: str, path: str, body: object, *, name: str
) -> tuple[object, ...]:
    """Return the answer with the name that was asked for taken out."""
    namespace, plain = name.split("/")
    address = path.format_map({**VALUES, "namespace": namespace, "name": plain})
    content, headers = b"", {}
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body).replace("{}", name, 1)
        text = text.replace("CALLER", "alice" if caller == "limited" else caller)
        content, headers = text.encode(), {"Content-Type": "application/json"}
        if body == {}:
            content = b"{}"
    answer = clients[caller].request(method, address, content=content, headers=headers)
    kept = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
    shown = json.dumps([kept, answer.text])
    for part in (name, plain, repr(namespace)):
        shown = shown.replace(part, "{}")
    return answer.status_code, kept.get("x-error-code"), shown


@pytest.mark.parametrize(
    ("method", "path", "body"), ASKED, ids=[f"{m} {p} {b}"[:90] for m, p, b in ASKED]
)
def test_private_is_as_good_as_missing(clients, hub, statements, method, path, body) -> None:
    names = ("desk/absent", "desk/secret", "desk/former", "dusk/secret")
    for caller in STRANGERS:
        ask(clients, caller, method, path, body, name=names[0])  # the token is known from now on
        answers, costs = [], []
        for name in names:
            statements.clear()
            answers.append(ask(clients, caller, method, path, body, name=name))
            costs.append(list(statements))
        assert answers[0][0] in (401, 403, 404), answers[0]
        assert answers[0][1] in REFUSALS, f"does {path} need an entry in BODIES? {answers[0]}"
        assert answers == [answers[0]] * 4
        assert costs == [costs[0]] * 4
        SEEN.append(len(costs[0]))
    fresh = f"alice/fresh{next(NUMBERS)}"  # the question was one that could have been answered
    hub.api().create_repo(fresh, repo_type="dataset" if "/datasets/" in path else "model")
    status, code, _ = ask(clients, "alice", method, path, body, name=fresh)
    assert code not in ("RepoNotFound", "EndpointNotFound", "GatedRepo"), (status, code)
    assert status < 500


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/api/settings/webhooks",
            {"url": "https://hooks.example/", "watched": [{"type": "model", "name": "{}"}]},
        ),
        ("/api/collections/SHELF/items", {"item": {"type": "model", "id": "{}"}}),
        ("/api/collections?item=models/{}", None),
        ("/api/models?author=desk&search={}", None),
    ],
)
def test_what_names_a_repository_elsewhere_tells_nothing_of_it(
    clients, hub, statements, path, body
) -> None:
    shelf = hub.api("carol").create_collection(f"shelf {next(NUMBERS)}", namespace="carol")
    answers, costs = [], []
    for name in ("desk/absent", "desk/absent", "desk/secret", "desk/former", "dusk/secret"):
        statements.clear()
        address = path.replace("SHELF", shelf.slug).replace("{}", name)
        content = None if body is None else json.loads(json.dumps(body).replace("{}", name))
        method = "GET" if body is None else "POST"
        answer = clients["carol"].request(method, address, json=content)
        shown = re.sub(r'"id":"[0-9a-f]{24}"', "", answer.text.replace(name, "{}"))
        answers.append((answer.status_code, answer.headers.get("x-error-code"), shown))
        costs.append(list(statements))
    assert answers[1:] == [answers[1]] * 4
    assert answers[1][0] in (200, 404)
    assert costs[1:] == [costs[1]] * 4


def test_no_route_is_left_out() -> None:
    names = {path for _, path in routes() if "{namespace}" in path and "{name}" in path}
    assert names <= {path for _, path, _ in ASKED}
    assert len(names) > 40
    assert not SEEN or max(SEEN) > 0  # the questions to the database were noticed


LISTS = sorted({path for method, path in routes() if method == "GET"} - {p for _, p, _ in ASKED})
LISTS.remove("/oauth/device")  # a page with a secret of its own each time, and no names


@pytest.mark.parametrize("path", LISTS)
def test_no_list_tells_of_what_is_private(clients, hub, path) -> None:
    """Nothing that a stranger can read changes when something private is made."""
    name = f"desk/listed{next(NUMBERS)}"
    word = name.partition("/")[2]
    queries = ["", f"?search={word}", "?author=desk", f"?owner=desk&item=models/{name}"]
    queries += [f"?item=models/{name}&q={word}"]

    def seen() -> list[object]:
        found = []
        for kinds in ("models", "datasets"):
            values = {**VALUES, "kinds": kinds, "namespace": "desk", "name": word}
            values |= {"endpoint": "tree", "rest": "main", "place": "default", "user": "desk"}
            address = path.format_map(_Any(values))
            for caller in STRANGERS:
                for query in queries:
                    answer = clients[caller].get(address + query)
                    found.append((answer.status_code, answer.text, answer.headers.get("link")))
        return found

    before = seen()
    for kind in ("model", "dataset"):
        hub.api().create_repo(name, repo_type=kind)
        hub.api().upload_file(
            path_or_fileobj=b"---\ntags: [x]\n---\n",
            path_in_repo="README.md",
            repo_id=name,
            repo_type=kind,
        )
    shelf = hub.api().create_collection(word, namespace="desk", private=True)
    hub.api().add_collection_item(shelf.slug, name, "model")
    assert seen() == before


class _Any(dict[str, str]):
    """Fills in something for parts of an address that nobody has thought of."""

    def __missing__(self, key: str) -> str:
        return "0" * 64
