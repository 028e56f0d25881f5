"""Whatever is asked of any route, in whatever form: an answer, and never a failure of the hub."""

import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fin_qlora_hub.app import build_routes

EXAMPLES = 12
ALLOWED = (HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large)
# What stands in the hub: half of all values are of these, so that not every answer is "not found".
KNOWN = {
    "kinds": ["models", "datasets"],
    "namespace": ["alice", "desk"],
    "name": ["a"],
    "revision": ["main", "v1", "refs/pr/1", "refs/heads/main"],
    "branch": ["main", "side", "refs/pr/1"],
    "tag": ["v1"],
    "path": ["README.md", "d/w.safetensors", "d"],
    "folder": ["d"],
    "num": ["1", "2"],
    "endpoint": ["tree", "refs"],
    "prefix": ["default", "default-merkledb"],
}


METHODS = ("get", "head", "options", "post", "put", "patch", "delete")


def operations() -> list[schemathesis.APIOperation]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate Operation ID")
        form = build_routes().openapi()
    found = [one.ok() for one in schemathesis.openapi.from_dict(form).get_all_operations()]
    # the methods of a route come in no order; what takes away comes last
    places = {path: place for place, path in enumerate(dict.fromkeys(one.path for one in found))}
    return sorted(found, key=lambda one: (places[one.path], METHODS.index(one.method)))


OPERATIONS = operations()
FILES = {"README.md": b"---\nlicense: mit\n---\n", "d/w.safetensors": b"w" * 100}
ASKED: set[str] = set()
WELL: set[str] = set()


@pytest.fixture(scope="module")
def hub(tmp_path_factory, open_a_hub) -> Iterator[object]:
    with open_a_hub(tmp_path_factory.mktemp("fuzzed") / "data") as hub:
        yield hub


@pytest.fixture
def cas_place(hub) -> str:
    """Put back what earlier requests may have taken away; give the address of the chunks."""
    api = hub.api()
    for namespace in ("alice", "desk"):
        for kind in ("model", "dataset"):
            name = f"{namespace}/a"
            api.create_repo(name, repo_type=kind, exist_ok=True)
            if api.file_exists(name, "d/w.safetensors", repo_type=kind):
                continue
            for path, content in FILES.items():
                api.upload_file(
                    path_or_fileobj=content, path_in_repo=path, repo_id=name, repo_type=kind
                )
            api.create_tag(name, tag="v1", repo_type=kind, exist_ok=True)
            api.create_branch(name, branch="side", repo_type=kind, exist_ok=True)
            api.create_pull_request(name, "a title", repo_type=kind)
            api.create_discussion(name, "a title", repo_type=kind)
    with hub.http() as http:
        given = http.get("/api/models/alice/a/xet-write-token/main").json()
    hub.tokens["chunks"] = given["accessToken"]
    return urlsplit(given["casUrl"]).path.removeprefix("/xet/")


def known_or_any(data: st.DataObject, name: str, value: object, place: str) -> object:
    choices = [place] if name == "place" else KNOWN.get(name)
    if choices and data.draw(st.integers(0, 3)):
        return data.draw(st.sampled_from(choices))
    return value


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_no_request_makes_the_hub_fail(hub, cas_place, operation, caplog) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=ALLOWED,
    )
    @given(case=operation.as_strategy(), data=st.data())
    def ask(case, data) -> None:
        for name, value in dict(case.path_parameters or {}).items():
            case.path_parameters[name] = known_or_any(data, name, value, cas_place)
        caller = "chunks" if operation.path.startswith("/xet/") else "alice"
        headers = {"Authorization": f"Bearer {hub.tokens[caller]}"}
        answer = case.call(base_url=hub.url, headers=headers)
        if answer.status_code < 300:
            WELL.add(operation.label)
        assert answer.status_code < 500, (answer.request.method, answer.request.url)
        if answer.status_code < 400:
            return
        if answer.headers.get("content-type", [""])[0].startswith("text/html"):  # for people
            assert operation.path.startswith("/oauth/")
            return
        assert answer.headers["x-error-code"]
        if operation.method != "head":
            assert answer.json()["error"]

    ask()
    ASKED.add(operation.label)
    assert [record for record in caplog.records if record.exc_info] == []


def test_most_routes_were_reached() -> None:
    """Not all answers were refusals: what stands behind the checks was met as well."""
    if len(ASKED) < len(OPERATIONS):
        pytest.skip("not all of them were asked in this process")
    assert len(WELL) > len(OPERATIONS) / 3, sorted(ASKED - WELL)


def test_every_route_is_asked() -> None:
    asked = {(one.method.upper(), one.path) for one in OPERATIONS}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate Operation ID")
        paths = build_routes().openapi()["paths"]
    assert {(verb.upper(), path) for path, verbs in paths.items() for verb in verbs} == asked
    assert len(asked) > 70
    # none is kept out of the schema
    waiting, there = list(build_routes().routes), set()
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):
            waiting += route.original_router.routes
        else:
            there |= {(method, route.path_format) for method in route.methods}
    assert there == asked


RAW = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#? "), max_size=60
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]), tail=RAW, query=RAW)
def test_no_address_makes_the_hub_fail(method, tail, query) -> None:
    """Below every first segment there is, whatever follows."""
    for start in ("/", "/api/models/", "/api/datasets/alice/", "/alice/a/resolve/", "/xet/"):
        try:
            request = HTTP.build_request(method, f"{start}{tail}?{query}", content=b"{}")
        except httpx.InvalidURL:
            continue
        if request.url.host != HTTP.base_url.host:
            continue  # what came out names another machine
        assert HTTP.send(request).status_code < 500, request.url


HTTP: httpx.Client


@pytest.fixture(autouse=True)
def _plain_http(hub) -> Iterator[None]:
    global HTTP
    with hub.http() as HTTP:
        yield
