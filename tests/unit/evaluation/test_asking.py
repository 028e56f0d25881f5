"""Rows are dealt out only where the processes can work apart, and what is done is not asked."""

from __future__ import annotations

import pytest

from fin_qlora.errors import MemoryShortError
from fin_qlora.evaluation import asking
from fin_qlora.evaluation.asking import Question, ask_rows
from fin_qlora.evaluation.journal import Journal
from fin_qlora.tasks import get

ROWS = {n: {"text": f"{'very ' * (n % 5)}{n}"} for n in range(11)}


class Model:
    """Answers each row with its text; remembers what it was asked, batch by batch."""

    def __init__(self, *, ends_after=99):
        self.batches = []
        self._ends_after = ends_after

    @property
    def question(self):
        return Question(name="echo", ask=self, stored=lambda x: x, restored=lambda x: x)

    def __call__(
        self, model, tokenizer, contract, inputs, *, batch_size, progress=None, keep, mine
    ):
        found = [None] * len(inputs)
        for number, start in enumerate(range(0, len(inputs), batch_size)):
            batch = list(range(start, min(start + batch_size, len(inputs))))
            if not mine(number, batch):
                continue
            if len(self.batches) == self._ends_after:
                raise MemoryShortError("A batch does not fit.", fix="Use less.")
            texts = [inputs[index]["text"] for index in batch]
            self.batches.append(texts)
            keep(batch, texts)
            for index, text in zip(batch, texts, strict=True):
                found[index] = text
        return found


def ask(model, rows=ROWS, **options):
    contract = get("tfns").contract()
    return ask_rows(model.question, model, None, contract, rows, batch_size=3, **options)


def launched(monkeypatch, *, zero3, others=()):
    """Let this process pass for the first of two; the other has done the rows of ``others``."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("transformers.integrations.is_deepspeed_zero3_enabled", lambda: zero3)
    answers = iter(others)
    monkeypatch.setattr(
        asking.torch.distributed,
        "all_gather_object",
        lambda everyone, mine: everyone.__setitem__(slice(None), [mine, next(answers)]),
    )


def test_one_process_asks_everything_and_tells_how_far_it_is():
    model, done = Model(), []
    found = ask(model, progress=done.append)
    assert {row: one.result for row, one in found.items()} == {
        row: one["text"] for row, one in ROWS.items()
    }
    assert list(found) == list(ROWS)
    assert done == [0, 3, 6, 9, 11]
    assert all(one.seconds >= 0 for one in found.values())


def test_two_processes_ask_a_batch_each_in_turn(monkeypatch):
    theirs = {n: asking.Answered(result="theirs", seconds=1.0) for n in (3, 4, 5, 9, 10)}
    launched(monkeypatch, zero3=False, others=[{}, theirs])
    model = Model()
    found = ask(model, shared=True)
    assert model.batches == [[ROWS[n]["text"] for n in batch] for batch in ((0, 1, 2), (6, 7, 8))]
    assert [n for n, one in found.items() if one.result == "theirs"] == [3, 4, 5, 9, 10]


def test_where_the_weights_are_shared_out_every_process_asks_everything(monkeypatch):
    launched(monkeypatch, zero3=True, others=[{}])
    model = Model()
    assert len(ask(model, shared=True)) == 11
    assert len(model.batches) == 4


def test_what_is_done_is_not_asked_again_and_batches_stay_the_same(tmp_path):
    def journal():
        return Journal(tmp_path, name="echo", identity={"a": 1})

    whole = Model()
    expected = {row: one.result for row, one in ask(whole).items()}
    first = journal()
    with pytest.raises(MemoryShortError, match=r"6 of 11 rows are kept.*The same --out goes on"):
        ask(Model(ends_after=2), journal=first)
    first.close()
    model, done = Model(), []
    again = journal()
    found = ask(model, journal=again, progress=done.append)
    again.close()
    assert model.batches == whole.batches[2:]
    assert {row: one.result for row, one in found.items()} == expected
    assert done == [6, 9, 11]


def test_where_nothing_is_kept_the_error_says_nothing_of_it():
    with pytest.raises(MemoryShortError) as caught:
        ask(Model(ends_after=1))
    assert str(caught.value) == "A batch does not fit. Use less."


def test_where_all_is_done_the_model_is_not_asked(tmp_path):
    first = Journal(tmp_path, name="echo", identity={})
    ask(Model(), journal=first)
    first.close()
    model = Model()
    assert len(ask(model, journal=Journal(tmp_path, name="echo", identity={}))) == 11
    assert model.batches == []
