"""What somebody sends is there once it is named, whatever is being collected meanwhile."""

import time

import pytest

from fin_qlora_hub.care import collecting
from fin_qlora_hub.care.checking import check
from fin_qlora_hub.care.collecting import collect
from fin_qlora_hub.stores.bucket_blobs import BucketBlobStore
from fin_qlora_hub.stores.publishing import publish, removing

pytestmark = pytest.mark.disk  # it has a bucket of its own


@pytest.fixture
def hub(moto, start_hub, tmp_path):
    with start_hub(tmp_path / "data", **moto.settings(moto.new_bucket())) as running:
        yield running


def stage(hub, data: bytes):
    writer = hub.hub.blobs.writer(limit=len(data))
    writer.write(data)
    return writer.finish()


def take_away(hub, staged) -> None:
    """Remove a content as a collection would that looked at it before it was sent."""
    hub.hub.blobs.remove_unused([staged.content.sha256], before=time.time() + 3600)


def confirm(hub, published) -> None:
    with hub.hub.database.writing() as session:
        published.confirm(session)


@pytest.mark.parametrize("ended", [True, False])
def test_what_is_removed_before_it_is_named_comes_back(hub, ended) -> None:
    staged = stage(hub, b"text")
    published = publish(hub.hub.database, hub.hub.blobs, [staged])
    collection = removing(hub.hub.database)
    collection.__enter__()  # and if it crashes, it never ends
    take_away(hub, staged)
    if ended:
        collection.__exit__(None, None, None)
    assert not hub.hub.blobs.holds(staged.content.sha256)
    confirm(hub, published)
    assert b"".join(hub.hub.blobs.read(staged.content.sha256)) == b"text"


def test_a_collection_that_began_before_counts_too(hub) -> None:
    with removing(hub.hub.database):
        staged = stage(hub, b"text")
        published = publish(hub.hub.database, hub.hub.blobs, [staged])
        take_away(hub, staged)
    confirm(hub, published)
    assert hub.hub.blobs.holds(staged.content.sha256)


def test_without_a_collection_the_store_is_not_asked_again(hub, monkeypatch) -> None:
    staged = stage(hub, b"text")
    with removing(hub.hub.database):
        pass
    published = publish(hub.hub.database, hub.hub.blobs, [staged])
    monkeypatch.setattr(BucketBlobStore, "publish", lambda _self, _staged: pytest.fail("asked"))
    confirm(hub, published)


def test_a_commit_during_a_collection_loses_nothing(hub, monkeypatch) -> None:
    """The collection looks at an old content, then the commit sends it, then it is removed."""
    api = hub.api()
    api.create_repo("alice/a")
    api.upload_file(path_or_fileobj=b"again", path_in_repo="x", repo_id="alice/a")
    api.delete_repo("alice/a")
    api.create_repo("alice/b")
    monkeypatch.setattr(collecting, "GRACE", -collecting.GRACE)  # all is old
    remove = BucketBlobStore.remove_unused
    sent = []

    def remove_late(store, candidates, **options):
        if not sent:
            sent.append(stage(hub, b"again"))
            sent.append(publish(hub.hub.database, hub.hub.blobs, sent[:1]))
        return remove(store, candidates, **options)

    monkeypatch.setattr(BucketBlobStore, "remove_unused", remove_late)
    collect(hub.hub)
    staged, published = sent
    assert not hub.hub.blobs.holds(staged.content.sha256)
    confirm(hub, published)
    assert hub.hub.blobs.holds(staged.content.sha256)
    assert list(check(hub.hub)) == []
