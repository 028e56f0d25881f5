"""Large bodies are let in so that nobody keeps the others out."""

import asyncio
import socket

import pytest
from waiting import wait_until

from fin_qlora_hub.errors import BusyError
from fin_qlora_hub.routes.receiving import UploadSlots

ALICE, BOB, CAROL = 1, 2, 3


class Room:
    """Uploads that last until they are told to end, and the order in which they were let in."""

    def __init__(self, count: int) -> None:
        self.slots = UploadSlots(count)
        self.entered: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, user: int) -> None:
        async def upload() -> None:
            async with self.slots.one(user):
                self.entered.append(name)
                await asyncio.Event().wait()

        self._tasks[name] = asyncio.create_task(upload())
        await self._settle()

    async def end(self, *names: str) -> None:
        for name in names:
            self._tasks.pop(name).cancel()
            await self._settle()

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def test_nobody_holds_more_than_half() -> None:
    async def play() -> None:
        room = Room(4)
        for number in range(4):
            await room.ask(f"alice {number}", ALICE)
        assert room.entered == ["alice 0", "alice 1"]
        await room.ask("bob", BOB)
        assert room.entered[2:] == ["bob"]
        await room.end("alice 1")
        assert room.entered[3:] == ["alice 2"]

    asyncio.run(play())


def test_a_free_slot_goes_to_whoever_holds_fewest() -> None:
    async def play() -> None:
        room = Room(4)
        for number in range(3):
            await room.ask(f"alice {number}", ALICE)
            await room.ask(f"bob {number}", BOB)
        assert len(room.entered) == 4
        await room.ask("carol 0", CAROL)
        await room.ask("carol 1", CAROL)
        await room.end("bob 0")
        assert room.entered[4:] == ["carol 0"]
        await room.end("alice 0")
        assert room.entered[5:] == ["alice 2"]  # one each: who came first
        await room.end("carol 1", "alice 1", "alice 2", "carol 0")  # one that never got in, too
        assert room.entered[6:] == ["bob 2"]
        await room.end("bob 1", "bob 2")
        for number in range(4):
            await room.ask(f"last {number}", number)
        assert len(room.entered) == 11

    asyncio.run(play())


def test_who_waits_too_long_is_told_and_takes_no_slot(monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.routes.receiving.WAIT_SECONDS", 0.01)

    async def play() -> None:
        room = Room(1)
        await room.ask("first", ALICE)
        with pytest.raises(BusyError):
            async with room.slots.one(BOB):
                pass
        with pytest.raises(TimeoutError):  # its own, not that of waiting
            async with UploadSlots(1).one(BOB):
                raise TimeoutError
        await room.end("first")
        await room.ask("second", BOB)
        assert room.entered == ["first", "second"]

    asyncio.run(play())


def test_one_user_leaves_room_for_another(start_hub, maker, xet, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.routes.receiving.WAIT_SECONDS", 0.2)
    name, body = maker.xorb(b"some bytes" * 1000)
    with start_hub(tmp_path / "data", max_uploads=2) as hub:
        hub.api().create_repo("desk/a")
        address = tuple(hub.url.removeprefix("http://").split(":"))
        path = f"v1/xorbs/default/{name}"
        with (
            xet("desk/a", hub=hub) as alice,
            xet("desk/a", hub=hub, caller="walter") as walter,
            socket.create_connection(address) as slow,
        ):
            slow.sendall(
                f"POST {alice.base_url.path}{path} HTTP/1.1\r\nHost: {hub.url[7:]}\r\n"
                f"Content-Length: {len(body)}\r\n"
                f"Authorization: {alice.headers['Authorization']}\r\n\r\n".encode()
            )
            assert wait_until(lambda: alice.post(path, content=body).status_code == 503)
            assert walter.post(path, content=body).status_code == 200
