"""Which files become pointers: what .gitattributes says, with git's own meaning of it."""

import subprocess
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.git.attributes import MAX_LINES, Attributes

PATHS = ["a.png", "x/a.png", "x/y/b.png", "c.jpg", "data/d.csv", "data/e/f.csv", "model.bin"]
RULES = [
    "*.png filter=lfs diff=lfs merge=lfs -text",
    "x/*.png filter=lfs",
    "/a.png filter=lfs",
    "data/** filter=lfs\ndata/d.csv -filter",
    "*.png filter=lfs\nx/** !filter",
    "*.png filter=lfs\n*.png filter=other",
    "* text=auto\n*.jpg -text filter=lfs",
    "# *.png filter=lfs\n\n   \nc.jpg filter=lfs",
    "data/ filter=lfs",
    "[ filter=lfs\n!a.png filter=lfs\nc.jpg filter=lfs",
    "*.png",
]


@pytest.mark.parametrize("rules", RULES)
def test_as_git_reads_it(rules: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitattributes").write_text(rules)
    told = subprocess.run(
        ["git", "-C", tmp_path, "check-attr", "-z", "filter", "--", *PATHS],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    of_git = [value == "lfs" for value in told[2::3]]
    of_git[PATHS.index("model.bin")] = True  # by its name, whatever is left open
    assert Attributes(rules).large([(path, 1) for path in PATHS]) == of_git


def test_weights_and_large_files_are_pointers_whatever_attributes_say() -> None:
    rules = Attributes("*.txt -filter\n*.bin -filter")
    files = [("a.txt", 10), ("a.txt", 20_000_000), ("a.bin", 10), ("b", 20_000_000), ("b", 10)]
    assert rules.large(files) == [False, True, True, True, False]


def test_no_attributes_keep_the_hub_busy() -> None:
    rules = Attributes("\n".join(f"*a*a*a*{n} filter=lfs" for n in range(MAX_LINES + 5)))
    with pytest.raises(BadRequestError, match="too many or too intricate"):
        rules.large([(f"{'a' * 200}{n}", 1) for n in range(5000)])
    unread = "x\n" * MAX_LINES + "*.png filter=lfs"
    assert Attributes(unread).large([("a.png", 1)]) == [False]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_repository_says_what_becomes_a_pointer(
    api, repository, tmp_path, chunked, monkeypatch
) -> None:
    api.upload_file(
        path_or_fileobj=b"*.png filter=lfs\n",
        path_in_repo=".gitattributes",
        repo_id=repository,
    )
    if not chunked:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    api.upload_file(path_or_fileobj=b"image.png", path_in_repo="image.png", repo_id=repository)
    api.create_commit(
        repository,
        [CommitOperationCopy("image.png", "copied.dat")],
        commit_message="a copy is what its source is",
    )
    files = {entry.path: entry for entry in api.list_repo_tree(repository)}
    assert files["image.png"].lfs.sha256 == files["copied.dat"].lfs.sha256
    assert files["image.png"].lfs.size == len(b"image.png")
    for path in ("image.png", "copied.dat"):
        fetched = api.hf_hub_download(repository, path, cache_dir=tmp_path)
        assert Path(fetched).read_bytes() == b"image.png"
    head = api.model_info(repository).sha
    same = CommitOperationAdd("image.png", b"image.png")
    assert api.create_commit(repository, [same], commit_message="the same").oid == head
