"""Encoded rows are found again by what they were made from, and by nothing less."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from fin_qlora import tasks
from fin_qlora.data import encode
from fin_qlora.data.encode import encode_rows
from fin_qlora.data.encode_cache import EncodedCache

CONTRACT = tasks.get("tfns").contract()
ROWS = [{"text": f"row {n} rose", "label": CONTRACT.labels[n % 3]} for n in range(50)]


@pytest.fixture
def cache(tmp_path) -> EncodedCache:
    return EncodedCache(tmp_path / "cache")


@pytest.fixture
def work(monkeypatch, tokenizer, cache):
    """Encode through the cache; the list says how often there was work to do."""
    done: list[int] = []
    plain = encode._encoded
    monkeypatch.setattr(
        encode, "_encoded", lambda rows, **rest: done.append(len(rows)) or plain(rows, **rest)
    )

    def run(rows=ROWS, **changes):
        settings = {"contract": CONTRACT, "tokenizer": tokenizer, "max_length": None} | changes
        return encode_rows(rows, cache=cache, **settings)

    return run, done


def test_the_second_time_nothing_is_tokenised(work, cache):
    run, done = work
    first, second = run(), run()
    assert done == [50]
    assert second.columns.equals(first.columns)
    assert second.examples == first.examples
    assert len(list(cache.folder.iterdir())) == 1


def test_whatever_changes_the_ids_changes_the_name(work, tokenizer):
    run, done = work
    other = copy.deepcopy(tokenizer)
    other.chat_template = f"{other.chat_template} "
    run()
    run([*ROWS[1:], ROWS[0]])
    run([*ROWS[:-1], {**ROWS[-1], "text": "row 49 fell"}])
    run([*ROWS[:-1], {**ROWS[-1], "label": "positive"}])
    run([*ROWS[:-1], {**ROWS[-1], "facts": [{"text": "row", "keep": True}]}])
    run(contract=tasks.get("tfns").contract("chat"))
    run(contract=replace(CONTRACT, shorten_to=100))
    run(tokenizer=other)
    assert len(done) == 8


def test_what_is_not_read_does_not_change_the_name(work):
    run, done = work
    run()
    run([{**row, "source": "elsewhere"} for row in ROWS])
    run(max_length=500)
    assert done == [50]


def test_the_limit_is_checked_on_rows_from_the_cache_too(work):
    from fin_qlora.errors import TruncatedAnswerError

    run, done = work
    run()
    with pytest.raises(TruncatedAnswerError):
        run(max_length=20)
    assert run(max_length=60, on_overlong="drop").given == 50
    assert done == [50]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
def test_a_damaged_file_is_made_again(work, cache, damage):
    run, done = work
    first = run()
    (file,) = cache.folder.iterdir()
    content = file.read_bytes()
    half = len(content) // 3
    file.write_bytes(
        {
            "cut": content[:half],
            "empty": b"",
            "flipped": content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :],
            "foreign": b"PAR1 not a table PAR1",
        }[damage]
    )
    assert run().columns.equals(first.columns)
    assert done == [50, 50]
    assert file.read_bytes() == content


def test_an_interrupted_write_leaves_nothing(work, cache, monkeypatch):
    run, _ = work

    def broken(*_):
        raise OSError("the plug was pulled")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="plug"):
        run()
    assert list(cache.folder.iterdir()) == []


def test_it_lies_where_datasets_keeps_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "d"))
    assert EncodedCache().folder == tmp_path / "d" / "fin_qlora-encoded"
    monkeypatch.delenv("HF_DATASETS_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "h"))
    assert EncodedCache().folder == tmp_path / "h" / "datasets" / "fin_qlora-encoded"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert EncodedCache().folder.is_relative_to(tmp_path / "c" / "huggingface")
