"""Looking at one file of many asks for that file alone, and nothing is stored twice."""

from datetime import UTC, datetime

import pytest
from huggingface_hub import CommitOperationAdd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from fin_qlora_hub.access.identity import find_user
from fin_qlora_hub.git import browsing
from fin_qlora_hub.git.browsing import list_below
from fin_qlora_hub.git.history import last_changes
from fin_qlora_hub.git.references import resolve
from fin_qlora_hub.git.trees import (
    FolderEntry,
    build_tree,
    file_entry,
    find_entries,
    store_tree,
    walk,
)
from fin_qlora_hub.metadata.tables import Commit, TreeEntry
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, _find, add_empty
from fin_qlora_hub.stores.blobs import Content

FILE = file_entry("f", Content("a" * 64, "b" * 40, 1))


@pytest.fixture
def rows_read(running, monkeypatch):
    """Count the entries of folders that the hub turns from rows into objects."""
    from fin_qlora_hub.git import browsing, history, trees

    rows = []
    real, read = trees.entry_of, history._Wanted._read

    def counted(row):
        rows.append(row.name)
        return real(row)

    for module in (trees, browsing):
        monkeypatch.setattr(module, "entry_of", counted)

    def noted(self, prefix, oids, node):
        read(self, prefix, oids, node)
        rows.extend(name for oid in oids for name in self._known[prefix, oid])

    monkeypatch.setattr(history._Wanted, "_read", noted)
    return rows


@pytest.fixture
def full(running, repository) -> str:
    names = [f"f{n:04}" for n in range(600)]
    operations = [CommitOperationAdd(path, b"x") for path in [*names, "d/e/a", "d/e/b", "o/x"]]
    running.api().create_commit(repository, operations, commit_message="many")
    return repository


def test_a_lookup_reads_one_entry_for_each_segment(running, full, rows_read) -> None:
    with running.http() as http:
        assert http.head(f"/{full}/resolve/main/f0001").status_code == 200
        assert rows_read == ["f0001"]
        rows_read.clear()
        assert http.head(f"/{full}/resolve/main/d/e/a").status_code == 200
        assert rows_read == ["d", "e", "a"]


def test_many_lookups_read_each_entry_once(running, full, rows_read) -> None:
    statements = []
    engine = running.hub.database._reading
    paths = [f"f{n:04}" for n in range(400)] + [
        "d/e/a",
        "d/e/b",
        "d",
        "missing",
        "f0001/x",
        "d/z/y",
    ]

    def note(_connection, _cursor, statement, *_rest) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        found = running.api().get_paths_info(full, paths)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert [entry.path for entry in found] == paths[:403]
    assert len(rows_read) == 400 + 1 + 1 + 2
    assert len([s for s in statements if "tree_entries" in s]) == 3


def test_announcing_an_upload_reads_only_what_is_announced(running, full, rows_read) -> None:
    with running.http() as http:
        body = {"files": [{"path": "f0001", "size": 1}, {"path": "d/e/new", "size": 1}]}
        answer = http.post(f"/api/models/{full}/preupload/main", json=body)
    assert answer.json()["files"][0]["oid"]
    assert sorted(rows_read) == [".gitattributes", "d", "e", "f0001"]


def test_unchanged_folders_are_not_written_again(running, full) -> None:
    def stored() -> int:
        with running.hub.database.reading() as session:
            return session.scalar(select(func.count()).select_from(TreeEntry)) or 0

    before = stored()
    running.api().upload_file(path_or_fileobj=b"new", path_in_repo="d/new", repo_id=full)
    # the root (600 files, .gitattributes, d, o) and d (e, new); neither d/e nor o
    assert stored() - before == 603 + 2


def test_the_last_change_opens_only_folders_that_differ(running, full, rows_read) -> None:
    api = running.api()
    first = api.list_repo_commits(full)[0].commit_id
    for number in range(5):
        api.upload_file(path_or_fileobj=b"%d" % number, path_in_repo="o/x", repo_id=full)
    name = RepositoryName(Kind.MODEL, *full.split("/"))
    with running.hub.database.reading() as session:
        repository = _find(session, name)
        head = resolve(session, repository, "main")
        rows_read.clear()
        last = last_changes(session, repository, head, ["d/e/a", "d", "f0007", "o", "absent"])
    assert {path: commit.oid for path, commit in last.items()} == {
        "d/e/a": first,
        "d": first,
        "f0007": first,
        "o": head.oid,
    }
    # `d` is the same in all five commits: what is in it is read where it came, and not before
    assert rows_read.count("a") == 1
    assert rows_read.count("f0008") == 0


def test_trees_written_are_read(running, repository) -> None:
    files = {"a": FILE, "b/c/d": FILE, "b/e": FILE, "x" * 200 + "/y": FILE}
    name = RepositoryName(Kind.MODEL, *repository.split("/"))
    with running.hub.database.writing() as session:
        number = _find(session, name).id
        tree = build_tree(files)
        root = tree.root
        for _ in range(2):
            store_tree(session, number, tree)
        assert set(walk(session, number, root)) == {*files, "b", "b/c", "x" * 200}
        found = find_entries(session, number, root, ["b", "b/c/d", "a/b", "nothing", "b/c/d/e"])
        assert isinstance(found.pop("b"), FolderEntry)
        assert found == {"b/c/d": FILE}
        assert walk(session, number, build_tree({}).root) == {}


NAMES = st.text("ab.-~", min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sets(PATHS, min_size=1, max_size=12), PATHS | st.just("") | st.just("b/"))
def test_pages_of_folders_go_on_after_any_path(running, repository, paths, after) -> None:
    files = {
        path: FILE
        for path in paths
        if not any(other.startswith(f"{path}/") for other in paths)  # it is a folder
    }
    tree = build_tree(files)
    folders = {p[:end] for p in files for end in range(len(p)) if p[end] == "/"}
    expected = sorted(p for p in {*files, *folders} if p > after)
    name = RepositoryName(Kind.MODEL, *repository.split("/"))
    browsing_rows = browsing._AFTER.limit(2)
    with pytest.MonkeyPatch.context() as small, running.hub.database.writing() as session:
        small.setattr(browsing, "_AFTER", browsing_rows)
        small.setattr(browsing, "_ROWS_AT_ONCE", 2)
        number = _find(session, name).id
        store_tree(session, number, tree)

        def listed(folder: str, *, recursive: bool) -> list[str]:
            below = list_below(
                *(session, number, tree.root), folder=folder, recursive=recursive, after=after
            )
            return [path for path, _ in below]

        assert listed("", recursive=True) == expected
        assert listed("", recursive=False) == [p for p in expected if "/" not in p]
        for folder in folders:
            inside = [p for p in expected if p.startswith(f"{folder}/")]
            assert listed(folder, recursive=True) == inside
            depth = folder.count("/") + 1
            assert listed(folder, recursive=False) == [p for p in inside if p.count("/") == depth]
        assert list_below(session, number, tree.root, folder="zz", recursive=True) is None


def test_a_page_of_a_large_folder_reads_no_other(running, api, new_name, rows_read) -> None:
    name = new_name()
    api.create_repo(name)
    many = [CommitOperationAdd(f"f{n:04}", b"x") for n in range(2500)]
    api.create_commit(name, many, commit_message="many")
    with running.http() as http:
        rows_read.clear()
        answer = http.get(f"/api/models/{name}/tree/main", params={"cursor": "f0999"})
        assert [item["path"] for item in answer.json()] == [f"f{n:04}" for n in range(1000, 2000)]
        assert "next" in answer.links
        assert len(rows_read) <= 1001 + browsing._ROWS_AT_ONCE
        assert len({item.path for item in api.list_repo_tree(name)}) == 2501


STATES = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "d/a", "d/e/a", "d/e/b", "f/a"]), st.integers(0, 2), max_size=6
    ),
    min_size=1,
    max_size=9,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STATES)
def test_the_last_change_is_the_newest_at_which_two_states_differ(running, new_name, states):
    """The same as comparing every commit with the one before it."""
    from fin_qlora_hub.git import history

    wanted = ["a", "b", "d", "d/a", "d/e", "d/e/a", "d/e/b", "f", "f/a", "g"]
    shown: list[dict[str, object]] = [{}]
    for state in states:
        above = {p[:end]: None for p in state for end in range(len(p)) if p[end] == "/"}
        inside = {f: sorted(i for i in state.items() if i[0].startswith(f"{f}/")) for f in above}
        shown.append({**state, **inside})
    with pytest.MonkeyPatch.context() as small, running.hub.database.writing() as session:
        small.setattr(history, "_FIRST_BLOCK", 2)
        small.setattr(history, "_LARGEST_BLOCK", 3)
        small.setattr(history, "_ROWS_AT_ONCE", 20)
        alice = find_user(session, "alice")
        name = RepositoryName(Kind.MODEL, "alice", new_name()[6:])
        repository = add_empty(session, name, alice, private=True)
        oids: list[str] = []
        for number, state in enumerate(states):
            files = {p: file_entry(p, Content(f"{v:064}", f"{v:040}", 1)) for p, v in state.items()}
            tree = build_tree(files)
            store_tree(session, repository.id, tree)
            oids.append(f"{number:040}")
            session.add(
                Commit(
                    repository_id=repository.id,
                    oid=oids[-1],
                    tree_oid=tree.root,
                    parent_oid=oids[-2] if number else None,
                    author="alice",
                    title="",
                    message="",
                    request_digest="",
                    created_at=datetime.now(UTC),
                )
            )
        session.flush()
        head = session.get_one(Commit, (repository.id, oids[-1]))
        assert [commit.oid for commit in history.history(session, repository, head)] == oids[::-1]
        found = last_changes(session, repository, head, wanted)
        expected = {
            path: oids[number]
            for path in wanted
            for number in range(len(states))
            if shown[number].get(path) != shown[number + 1].get(path)
        }
        assert {path: commit.oid for path, commit in found.items()} == expected
        session.rollback()
