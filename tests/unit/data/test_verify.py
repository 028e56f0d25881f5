"""Files are held against what was published; a part is told, more or other than that is found."""

from __future__ import annotations

import dataclasses

from fin_qlora import tasks
from fin_qlora.data.verify import verify_form
from fin_qlora.files import sha256_file
from fin_qlora.tasks import RawFile

TFNS = tasks.get("tfns")
THREE = "text,label\r\na,0\r\nb,1\r\nc,2\r\n"


def check(data, **file):
    form = TFNS.source.forms[0]
    known = RawFile(path="tfns/sent_train.csv", **file)
    return verify_form(dataclasses.replace(form, files=(known,)), TFNS, data)


def test_the_published_file(write):
    data = write("tfns/sent_train.csv", THREE)
    found = check(data, records=3, sha256=sha256_file(data / "tfns/sent_train.csv"))
    assert (found.files[0].status, found.files[0].digest) == ("complete", "as expected")
    assert found.labels == {"negative": 1, "positive": 1, "neutral": 1}
    assert found.findings == []


def test_a_part_is_no_finding(write):
    found = check(write("tfns/sent_train.csv", THREE), records=4)
    assert (found.files[0].status, found.files[0].digest) == ("partial", "open")
    assert found.findings == []


def test_as_many_records_with_another_digest_are_found(write):
    found = check(write("tfns/sent_train.csv", THREE), records=3, sha256="0" * 64)
    assert found.findings == [
        "tfns/sent_train.csv has all records but another digest than the published file."
    ]


def test_more_records_than_published_are_found(write):
    found = check(write("tfns/sent_train.csv", THREE), records=2)
    assert found.findings == ["tfns/sent_train.csv has 3 records, more than the 2 published."]


def test_an_unreadable_file_is_found_and_ends_nothing(write):
    data = write("tfns/sent_train.csv", "text,label\r\nx,9\r\n")
    found = check(data, records=1)
    assert "row 1 has the label '9'" in found.findings[0]
    assert found.files[0].status == "unreadable"
    assert found.to_dict()["findings"] == found.findings
