"""Small refusals of the upload itself."""

import pytest

from fin_qlora.errors import DataError, UsageError
from fin_qlora.publishing.hub import client, split_reference
from fin_qlora.publishing.upload import upload


@pytest.mark.parametrize("name", ["training_args.bin", "optimizer.pt", "rows.pkl"])
def test_pickles_are_never_published(hub, name):
    with pytest.raises(DataError, match="pickle"):
        upload(client(), "demo/pickled", {name: b""}, message="m", private=True)


def test_a_public_repository_is_not_published_into_unasked(hub):
    client().create_repo("demo/open", private=False)
    with pytest.raises(UsageError, match="is public"):
        upload(client(), "demo/open", {"a.json": b"{}"}, message="m", private=True)
    upload(client(), "demo/open", {"a.json": b"{}"}, message="m", private=False)


def test_a_reference_splits_into_id_and_revision():
    assert split_reference("a/b") == ("a/b", None)
    assert split_reference("a/b@v1") == ("a/b", "v1")
