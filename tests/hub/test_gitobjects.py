"""Ids are those that git itself gives."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fin_qlora_hub.gitobjects import TreeItem, commit_id, lfs_pointer, object_id, tree_id


@pytest.fixture
def git(tmp_path: Path):
    def run(*arguments: str, text: bytes = b"", **env: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *arguments],
            input=text,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(tmp_path), **env},
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().strip()

    run("init", "-q")
    return run


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)) * 400])
def test_blob_ids_are_gits(git, content: bytes) -> None:
    assert object_id("blob", content) == git("hash-object", "--stdin", text=content)


def test_tree_ids_are_gits_with_its_odd_order(git) -> None:
    blob = git("hash-object", "-w", "--stdin", text=b"x")
    inner = git("mktree", text=f"100644 blob {blob}\tfile\n".encode())
    assert tree_id([TreeItem("file", blob, False)]) == inner
    # git compares the folder "a" as "a/", which puts it after "a.b" and "a-b"
    names = [("a.b", False), ("a", True), ("a-b", False), ("a0", False), ("Ünï", False)]
    listing = "".join(
        f"040000 tree {inner}\t{name}\n" if folder else f"100644 blob {blob}\t{name}\n"
        for name, folder in names
    )
    items = [TreeItem(name, inner if folder else blob, folder) for name, folder in names]
    assert tree_id(items) == git("mktree", text=listing.encode())


def test_empty_tree_id_is_gits(git) -> None:
    assert tree_id([]) == git("mktree")


def test_commit_ids_are_gits(git) -> None:
    tree = git("mktree")
    when = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    who = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in [
            ("NAME", "alice"),
            ("EMAIL", "alice@bank.example"),
            ("DATE", f"{int(when.timestamp())} +0000"),
        ]
    }
    author = "alice <alice@bank.example>"
    first = git("commit-tree", tree, text="Title\n\nÜber text\n".encode(), **who)
    message = "Title\n\nÜber text"
    assert commit_id(tree=tree, parents=[], author=author, when=when, message=message) == first
    second = git("commit-tree", tree, "-p", first, text=b"Next\n", **who)
    assert commit_id(tree=tree, parents=[first], author=author, when=when, message="Next") == second


def test_pointer_is_the_text_that_git_lfs_writes() -> None:
    pointer = lfs_pointer("ab" * 32, 1234)
    assert pointer.decode().splitlines() == [
        "version https://git-lfs.github.com/spec/v1",
        f"oid sha256:{'ab' * 32}",
        "size 1234",
    ]
    assert pointer.endswith(b"\n")
