"""Names that some system could not hold, or someone could mistake, are refused."""

import pytest

from fin_qlora_hub.access.names import (
    RESERVED_NAMESPACES,
    check_name,
    check_namespace,
    check_path,
    check_reference_name,
    check_repository_name,
)
from fin_qlora_hub.app import build_routes
from fin_qlora_hub.errors import BadRequestError, IllegalPathError


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "a//b",
        "a/",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        ".git/config",
        "x/.GIT/hooks",
        "C:/x",
        "c:x",
        "//server/share",
        "a./b",
        "a ",
        "nul",
        "x/CON.txt",
        "com1.json",
        "COM¹",
        "lpt².txt",
        "conout$",
        "C:",
        "a/c:x",
        ":x",
        "..:x",
        ".git:x/config",
        ".Git::$INDEX_ALLOCATION/config",
        ".git .:x",
        "git~1:x",
        "nul:",
        "a/CON :x",
        "git~1/x",
        "GIT~12",
        ".g\u200cit/config",
        ".g\ufe0fit/config",
        "x\u202egnp.exe",
        "a\ufeffb",
        "LPT9",
        "x" * 256,
        "/".join(["x" * 200] * 6),
        "\ud800",
    ],
)
def test_evil_paths_are_refused(path: str) -> None:
    with pytest.raises(IllegalPathError):
        check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *["a", "a/b.c", ".gitattributes", ".gitignore", "Ünï/ß #%.md", "console.log", "a b", "*"],
        *["to?/awful?filename%you:should,never.give", "12:30.log", "a<b", "a>b", 'a"b', "a|b"],
    ],
)
def test_ordinary_paths_are_taken(path: str) -> None:
    assert check_path(path) == path


def test_paths_are_stored_in_one_unicode_form() -> None:
    assert check_path("e\u0301.md") == "\u00e9.md"


@pytest.mark.parametrize("name", ["", "a--b", "a..b", ".a", "a.", "-a", "a.git", "a/b", "x" * 97])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequestError):
        check_name(name, what="Repository")


@pytest.mark.parametrize("name", ["api", "Datasets", "settings", "oauth", "models"])
def test_reserved_namespaces_are_refused(name: str) -> None:
    with pytest.raises(BadRequestError, match="reserved"):
        check_namespace(name, what="User")


@pytest.mark.parametrize("name", ["resolve", "tree", "Blob", "raw", "commit"])
def test_names_that_addresses_use_are_reserved(name: str) -> None:
    with pytest.raises(BadRequestError, match="reserved"):
        check_repository_name(name)
    with pytest.raises(BadRequestError, match="reserved"):
        check_namespace(name, what="User")


def test_every_first_word_of_an_address_is_reserved() -> None:
    """A user of that name would have repositories where the hub itself answers."""
    waiting, words = list(build_routes().routes), set()
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):
            waiting += route.original_router.routes
        else:
            words.add(route.path_format.split("/")[1])
    words = {word for word in words if word and "{" not in word}
    assert {"api", "lfs", "xet", "v1", "healthz", "datasets"} <= words
    assert words <= RESERVED_NAMESPACES


def test_a_message_quotes_only_so_much() -> None:
    for path in ("a" * 60_000, "a/" * 60_000 + "b", "x:" + "y" * 900):
        with pytest.raises(IllegalPathError) as refused:
            check_path(path)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "name",
    [
        *["", "-x", "refs/heads/x", "a b", "a..b", "a~1", "a^", "a:b", "a.lock", "a//b", "/a"],
        *["a/", "HEAD", "@", "a@{1}", ".a", "a/.b", "a.", "a\\b", "f" * 40, "x" * 256, "a\u202eb"],
    ],
)
def test_bad_references_are_refused(name: str) -> None:
    with pytest.raises(BadRequestError):
        check_reference_name(name, what="Branch")


@pytest.mark.parametrize("name", ["main", "feature/x", "v1.0", "ünï", "a-b_c"])
def test_ordinary_references_are_taken(name: str) -> None:
    assert check_reference_name(name, what="Tag") == name
