"""Ignore rules mean what git means by them, and no rule can keep the hub busy."""

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.git.ignoring import IgnoreRules

PATHS = [
    "a",
    "b",
    "a.log",
    "x/a.log",
    "x/y/a.log",
    "keep.log",
    "build/out.bin",
    "src/build/out.bin",
    "src/build.txt",
    "docs/a/b/c.md",
    "docs/c.md",
    "docs/x.md",
    "f1.txt",
    "f2.txt",
    "fa.txt",
    "f].txt",
    "#hash",
    "!bang",
    "tail ",
    "x/deep/a/deep/b",
    "Ünï/ß.txt",
    ".hidden/file",
    "star*",
    "a-b",
]
RULES = [
    "*.log",
    "*.log\n!keep.log",
    "build/",
    "/build/",
    "x/\n!x/a.log",
    "docs/**/c.md",
    "**/c.md",
    "docs/**",
    "docs/*",
    "docs/*/c.md",
    "f[0-9].txt",
    "f[!0-9].txt",
    "f[^0-9].txt",
    "f[]].txt",
    "f[]a-c].txt",
    "f[[:digit:]].txt",
    "f?.txt",
    "?",
    "\\#hash",
    "#hash",
    "\\!bang",
    "tail\\ ",
    "tail ",
    "/a",
    "a",
    "x/**/deep/b",
    "x/**/**/b",
    "**",
    "**/",
    "/**",
    "/*\n!/src",
    "*\n!*/\n!*.txt",
    "**/deep/**",
    "*e*p*",
    "Ünï",
    ".*",
    "star\\*",
    "a-[a-c]",
    "src/build",
    "!a\n",
    "/",
    "",
    "**.md",
    "d**s/c.md",
]


@pytest.mark.parametrize("rules", RULES)
def test_rules_mean_what_git_means(tmp_path: Path, rules: str) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(rules, "utf-8")
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    asked = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", "-z", "--stdin"],
        input="\0".join(PATHS).encode(),
        capture_output=True,
        check=False,
    )
    expected = set(asked.stdout.decode().split("\0")) - {""}
    ignored = IgnoreRules(rules).ignores(PATHS)
    assert {path for path, hidden in zip(PATHS, ignored, strict=True) if hidden} == expected


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("*a" * 12 + "b", "a" * 250),
        ("*a" * 200 + "b", "a" * 250),
        ("**/a/" * 60 + "b", "a/" * 400 + "c"),
        ("*[a-z]*[!0]" * 20 + "0", "a" * 250),
    ],
)
def test_no_rule_backtracks(rule: str, path: str) -> None:
    with suppress(BadRequestError):  # its steps are counted: the test ends, which is the point
        assert IgnoreRules(rule).ignores([path]) == [False]


def test_too_many_rules_on_too_many_files_are_refused() -> None:
    rules = IgnoreRules("\n".join(f"*a*a*a*{n}" for n in range(2000)))
    with pytest.raises(BadRequestError, match="too intricate"):
        rules.ignores([f"{'a' * 200}{n}" for n in range(5000)])


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ("a\n" * 2001, "lines"),
        ("a" * 513, "512 characters"),
        (("a" * 500 + "\n") * 200, "65,536 bytes"),
        ("a[b", "never closes"),
        ("a\\", "backslash"),
    ],
)
def test_bad_rules_are_refused(rules: str, complaint: str) -> None:
    with pytest.raises(BadRequestError, match=complaint):
        IgnoreRules(rules)


def test_a_bad_rule_is_the_callers_mistake(running, repository) -> None:
    with running.http() as http:
        for rules in ("a[", "*a" * 12 + "b"):
            body = {"files": [{"path": "a" * 250, "size": 1}], "gitIgnore": rules}
            answer = http.post(f"/api/models/{repository}/preupload/main", json=body)
            assert answer.status_code == (400 if rules == "a[" else 200)
