"""A large file is read once for its digest, and again as soon as anything about it changed."""

import os

import pytest

from fin_qlora.files import sha256_bytes
from fin_qlora.models import digests
from fin_qlora.models.digests import digest_of


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Count how often a file is really read; what is remembered is the test's own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    counted = []
    real = digests.sha256_file
    monkeypatch.setattr(digests, "sha256_file", lambda path: counted.append(path) or real(path))
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", 0.0)
    return counted


def test_it_is_read_once(reads, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert digest_of(file) == digest_of(file) == sha256_bytes(b"one")
    assert len(reads) == 1
    assert digest_of(file, again=True) == sha256_bytes(b"one")
    assert len(reads) == 2


def test_a_change_that_hides_its_time_and_size_is_seen(reads, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    before = file.stat()
    digest_of(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert digest_of(file) == sha256_bytes(b"two")


def test_another_file_in_its_place_is_seen(reads, tmp_path):
    file, other = tmp_path / "weights", tmp_path / "other"
    file.write_bytes(b"one")
    other.write_bytes(b"two")
    digest_of(file)
    os.replace(other, file)
    assert digest_of(file) == sha256_bytes(b"two")


def test_a_file_touched_just_now_is_not_remembered(reads, monkeypatch, tmp_path):
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", 2.0)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    digest_of(file)
    digest_of(file)
    assert len(reads) == 2


def test_without_a_place_to_remember_it_is_read(reads, monkeypatch, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder would be")
    monkeypatch.setenv("HF_HOME", str(blocked))
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert digest_of(file) == digest_of(file) == sha256_bytes(b"one")
    assert len(reads) == 2


def test_what_was_remembered_by_halves_is_not_believed(reads, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    digest_of(file)
    (memory,) = (tmp_path / "home" / "fin_qlora-digests").iterdir()
    memory.write_text("abc")
    assert digest_of(file) == sha256_bytes(b"one")
