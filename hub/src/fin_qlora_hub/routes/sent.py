"""Files that clients sent to the object store itself, taken in before anybody relies on them."""

import asyncio
from collections.abc import Collection
from functools import partial

from fin_qlora_hub.contents.direct import take_in
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.xet.access import Access


async def take_in_sent(hub: Hub, access: Access, sha256s: Collection[str]) -> None:
    """Verify what has come for a repository, and let it hold that; nothing may have come."""
    if hub.direct is None or not sha256s:
        return
    work = partial(
        take_in,
        *(hub.database, hub.blobs, hub.direct, access, sha256s),
        max_file_bytes=hub.settings.max_file_bytes,
    )
    # Not a writer's thread: it reads and writes for minutes, and others wait to commit.
    await asyncio.wrap_future(hub.verifiers.submit(access.user_id, work))
