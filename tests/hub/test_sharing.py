"""Long work of one user leaves room for that of others."""

import contextvars
import threading

import pytest
from waiting import wait_until

from fin_qlora_hub.sharing import SharedPool

ALICE, BOB = 1, 2


class Works:
    """Works that have begun, each of which lasts until it is told to end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._ends: dict[str, threading.Event] = {}

    def one(self, name: str):
        self._ends[name] = threading.Event()

        def work() -> str:
            self.begun.append(name)
            assert self._ends[name].wait(20)
            return name

        return work

    def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()


def test_one_user_has_at_most_half_of_the_threads() -> None:
    works = Works()
    with SharedPool(3, name="test") as pool:
        futures = {n: pool.submit(ALICE, works.one(n)) for n in ("a1", "a2", "a3", "a4")}
        assert wait_until(lambda: sorted(works.begun) == ["a1", "a2"])
        futures["b1"] = pool.submit(BOB, works.one("b1"))
        futures["b2"] = pool.submit(BOB, works.one("b2"))
        assert wait_until(lambda: works.begun[2:] == ["b1"])
        works.end("a1")
        assert wait_until(lambda: works.begun[3:] == ["a3"])  # one each: who came first
        works.end("b1")
        assert wait_until(lambda: works.begun[4:] == ["b2"])
        works.end("a2", "a3", "b2", "a4")
        assert {name: future.result(20) for name, future in futures.items()} == {
            name: name for name in futures
        }


def test_errors_and_context_go_their_way() -> None:
    acting = contextvars.ContextVar("acting", default="nobody")
    acting.set("alice")

    def fail() -> None:
        raise KeyError("it failed")

    with SharedPool(1, name="test") as pool:
        assert pool.submit(ALICE, acting.get).result(20) == "alice"
        with pytest.raises(KeyError, match="it failed"):
            pool.submit(ALICE, fail).result(20)
        assert pool.submit(ALICE, acting.get).result(20) == "alice"


def test_what_is_given_up_or_left_at_the_end_never_begins() -> None:
    works = Works()
    with SharedPool(1, name="test") as pool:
        first = pool.submit(ALICE, works.one("first"))
        assert wait_until(lambda: works.begun == ["first"])
        given_up = pool.submit(ALICE, works.one("given up"))
        assert given_up.cancel()
        last = pool.submit(ALICE, works.one("last"))
        works.end("first", "last")
        assert (first.result(20), last.result(20)) == ("first", "last")
        pool.submit(ALICE, works.one("at the end"))
        assert wait_until(lambda: works.begun[2:] == ["at the end"])
        left = pool.submit(ALICE, works.one("left"))
        left.add_done_callback(lambda _: works.end("at the end"))
    assert left.cancelled()
    assert works.begun == ["first", "last", "at the end"]
