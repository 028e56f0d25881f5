"""What holds for every input: of names, files, commits, ranges and lists."""

import base64
import itertools
import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from fin_qlora_hub.access.identity import authenticate
from fin_qlora_hub.access.names import check_path, check_reference_name, check_repository_name
from fin_qlora_hub.access.visibility import Kind
from fin_qlora_hub.cards.card import describe
from fin_qlora_hub.cards.evaluations import read_results
from fin_qlora_hub.cards.plainyaml import YamlError, read_yaml
from fin_qlora_hub.errors import BadRequestError, HubError, IllegalPathError
from fin_qlora_hub.git.ndjson import CommitReader
from fin_qlora_hub.repositories.listing import Search, SortKey, cursor_after, search
from fin_qlora_hub.routes.ranges import UnsatisfiableRangeError, asked_range

FIXED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PIECES = st.sampled_from(["a", "B", "..", ".", "", " ", ".git", "con", "é", "e\u0301", "x" * 90])
PATHS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=5).map("/".join))


@FIXED
@given(PATHS)
def test_a_path_is_refused_or_stays_as_it_became(path: str) -> None:
    try:
        kept = check_path(path)
    except IllegalPathError:
        return
    assert check_path(kept) == kept
    assert not {"", ".", ".."} & set(kept.split("/"))
    assert "\\" not in kept
    assert kept.encode()


@FIXED
@given(st.text(max_size=100))
def test_a_name_is_refused_or_good_in_an_address(name: str) -> None:
    for check in (check_repository_name, lambda text: check_reference_name(text, what="Tag")):
        try:
            kept = check(name)
        except BadRequestError:
            continue
        assert kept == name
        assert not set(" \x00\\:?*[~^") & set(kept)


@FIXED
@given(st.one_of(st.binary(max_size=200), PATHS.map(lambda text: text.encode("utf-8", "replace"))))
def test_no_file_of_a_stranger_breaks_a_card(content: bytes) -> None:
    names = ("README.md", "config.json", "adapter_config.json", ".eval_results/r.yaml")
    for start in (b"", b"---\n", b"- value: ", b'{"a": '):
        card = describe(dict.fromkeys(names, start + content), paths=names)
        json.dumps([card.summary(), card.details()], allow_nan=False).encode()
        found = read_results("f", start + content)
        assert found.error is None or not found.entries


@FIXED
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@,.\n 019\t", max_size=60))
def test_yaml_is_plain_or_refused(text: str) -> None:
    try:
        found = read_yaml(text)
    except YamlError:
        return
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@FIXED
@given(st.text(max_size=40), st.integers(0, 10_000))
def test_a_range_lies_inside_or_is_refused(header: str, size: int) -> None:
    value = header.encode("latin-1", "replace")
    for text in (value, b"bytes=" + value, b"bytes=1-" + value, b"bytes=-" + value):
        request = Request({"type": "http", "headers": [(b"range", text)]})
        try:
            found = asked_range(request, size=size, etag='"e"')
        except UnsatisfiableRangeError:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size


class _Memory:
    """Keeps what a blob writer would write."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def finish(self) -> "_Memory":
        return self

    def discard(self) -> None:
        pass


def lines_of(body: bytes, cuts: list[int]) -> list[tuple[str, dict[str, object], bytes | None]]:
    reader = CommitReader(_Memory, max_line_bytes=10_000, max_lines=100)
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    lines = []
    for start, end in itertools.pairwise(places):
        lines += reader.feed(body[start:end])
    lines += reader.finish()
    return [(x.key, x.value, None if x.blob is None else x.blob.data) for x in lines]


FILES = st.dictionaries(st.text(max_size=10), st.binary(max_size=60), max_size=5)
CUTS = st.lists(st.integers(0, 10**6), max_size=8)


@FIXED
@given(FILES, CUTS, st.booleans())
def test_a_commit_reads_the_same_however_it_arrives(files, cuts, escaped) -> None:
    body = b""
    for path, content in files.items():
        value = {"path": path, "content": base64.b64encode(content).decode()}
        line = json.dumps({"key": "file", "value": value}).encode()
        body += (line.replace(b"/", b"\\/") if escaped else line) + b"\n"
    expected = [("file", {"path": path}, content) for path, content in files.items()]
    assert lines_of(body, cuts) == expected


@FIXED
@given(st.binary(max_size=120), FILES, CUTS)
def test_nonsense_in_a_commit_is_refused_as_such(noise, files, cuts) -> None:
    good = json.dumps({"key": "file", "value": {"content": "QQ==", "path": "p"}}).encode()
    for body in (noise, good + b"\n" + noise, good[:20] + noise + good[20:]):
        try:
            lines = lines_of(body, cuts)
        except HubError:
            continue
        assert all(isinstance(key, str) and isinstance(value, dict) for key, value, _ in lines)


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/f", "g"])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), NAMES, st.binary(max_size=3)),
        st.tuples(st.just("delete"), st.one_of(NAMES, st.just("d")), st.none()),
        st.tuples(st.just("copy"), NAMES, NAMES),
    ),
    min_size=1,
    max_size=5,
)


def applied(files: dict[str, bytes], acts) -> dict[str, bytes] | None:
    """Return what a commit makes of some files; None where it cannot be made."""
    before, after = dict(files), dict(files)
    for act, path, value in acts:
        if act == "add":
            after[path] = value
        elif act == "copy":
            if value not in before:
                return None
            after[path] = before[value]
        else:
            inside = [name for name in after if name == path or name.startswith(path + "/")]
            if not inside:
                return None
            for name in inside:
                del after[name]
    return after


@settings(FIXED, max_examples=12)
@given(st.lists(ACTS, min_size=1, max_size=4))
def test_commits_do_what_their_lines_say(running, new_name, history) -> None:
    name = new_name()
    running.api().create_repo(name)
    with running.http() as http:
        files = {".gitattributes": http.get(f"/{name}/resolve/main/.gitattributes").content}
        for number, acts in enumerate(history):
            body = json.dumps({"key": "header", "value": {"summary": f"commit {number}"}}) + "\n"
            for act, path, value in acts:
                line: dict[str, object] = {"path": path}
                key = {"add": "file", "delete": "deletedFile", "copy": "copyFile"}[act]
                if act == "add":
                    line |= {"content": base64.b64encode(value).decode(), "encoding": "base64"}
                elif act == "copy":
                    line |= {"srcPath": value}
                body += json.dumps({"key": key, "value": line}) + "\n"
            answer = http.post(f"/api/models/{name}/commit/main", content=body)
            after = applied(files, acts)
            assert answer.status_code == (404 if after is None else 200), answer.text
            files = files if after is None else after
        tree = http.get(f"/api/models/{name}/tree/main?recursive=true").json()
        assert {item["path"] for item in tree if item["type"] == "file"} == set(files)
        for path, content in files.items():
            assert http.get(f"/{name}/resolve/main/{path}").content == content


@pytest.fixture(scope="module")
def crowded(tmp_path_factory, open_a_hub) -> Iterator[tuple[object, list[dict[str, object]]]]:
    """A hub of thirty repositories that differ in all by which lists can be narrowed."""
    chance = random.Random(3)
    with open_a_hub(tmp_path_factory.mktemp("crowded") / "data") as hub:
        made = []
        for number in range(30):
            owner = chance.choice(["alice", "desk", "carol"])
            one = {
                "id": f"{owner}/{chance.choice('xyz')}-{number}",
                "owner": owner,
                "public": chance.random() < 0.4,
                "gated": chance.random() < 0.3,
                "tags": chance.sample(["red", "blue", "green"], chance.randrange(4)),
            }
            made.append(one)
            api = hub.api("alice" if owner == "desk" else owner)
            api.create_repo(one["id"], private=not one["public"])
            if one["gated"]:
                api.update_repo_settings(one["id"], gated="auto")
            card = f"---\ntags: {json.dumps(one['tags'])}\nn: 1\n---\n".encode()
            api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=one["id"])
        yield hub, made


@settings(FIXED, max_examples=120)
@given(
    caller=st.sampled_from(["alice", "bob", "carol", None]),
    author=st.sampled_from([None, "desk", "Alice", "carol", "nobody"]),
    texts=st.lists(st.sampled_from(["", "X-", "alice/", "1", "2", "%"]), max_size=3),
    tags=st.lists(st.sampled_from(["red", "blue", "green", "none"]), max_size=3),
    gated=st.sampled_from([None, True, False]),
    sort=st.sampled_from(SortKey),
    page=st.integers(1, 12),
    rare=st.booleans(),
)
def test_a_list_is_what_a_look_at_each_would_give(
    crowded, monkeypatch, caller, author, texts, tags, gated, sort, page, rare
) -> None:
    hub, made = crowded
    worth = 1000 if rare else 0
    monkeypatch.setattr("fin_qlora_hub.repositories.listing._worth_looking_up", lambda *_: worth)
    own = {"alice": {"alice", "desk"}, "bob": {"desk"}, "carol": {"carol"}, None: set()}[caller]
    expected = {
        one["id"]
        for one in made
        if (one["public"] or one["owner"] in own)
        and (author is None or one["owner"] == author.lower())
        and all(text.lower() in one["id"] for text in texts)
        and set(tags) <= set(one["tags"])
        and gated in (None, one["gated"])
    }
    wanted = Search(Kind.MODEL, author=author, texts=texts, tags=tags, gated=gated, sort=sort)
    found, cursor = [], None
    with hub.hub.database.reading() as session:
        who = None if caller is None else authenticate(session, hub.tokens[caller])
        while some := list(search(session, wanted, caller=who, limit=page, cursor=cursor)):
            found += some
            cursor = cursor_after(some[-1], sort)
    keys = [(getattr(one, sort), one.id) for one in found]
    assert keys == sorted(keys, reverse=True)
    assert len(found) == len(expected)
    assert {one.name for one in found} == expected


def test_the_model_of_commits_is_not_empty() -> None:
    assert applied({"d/a": b"1"}, [("delete", "d", None)]) == {}
    assert applied({}, [("copy", "a", "b")]) is None
