"""What is evaluated: one commit of an adapter, and a tokenizer that is told by its digest."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fin_qlora import tasks
from fin_qlora.evaluation import subject
from fin_qlora.evaluation.subject import Subject, open_subject
from fin_qlora.inference.calibration import Calibration
from fin_qlora.models.base import BaseIdentity, load_tokenizer

COMMIT = "c" * 40
FIT = {"rows": 60, "before": 1.0, "after": 0.9}
BASE = BaseIdentity(id="a/b", revision=None, digest="ab" * 32)


def of(tokenizer) -> Subject:
    return Subject(
        name="a/b", model=None, tokenizer=tokenizer, base=BASE, revision=None, quantization="none"
    )


def test_a_tokenizer_is_told_by_what_it_does(small_base):
    first, same, other, templated = (load_tokenizer(small_base) for _ in range(4))
    same(["a", "longer text"], padding=True, truncation=True, max_length=3)
    other.add_tokens(["Ebitda"])
    templated.chat_template = "{{ messages[0].content }}"
    digests = [of(one).tokenizer_digest for one in (first, same, other, templated)]
    assert digests[0] == digests[1], "padding is none of its doings"
    assert len(set(digests)) == 3


@pytest.mark.parametrize("stages", [1, 2])
def test_weights_and_digest_are_of_one_commit_though_the_branch_moves(
    tmp_path, monkeypatch, stages
):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(subject, "read_record", lambda _: {"tasks": []})
    monkeypatch.setattr(subject, "fetch", lambda *_, **__: (tmp_path, COMMIT))
    asked: list[str | None] = []

    def loaded(reference, *, revision, **_):
        asked.append(revision)
        return SimpleNamespace(
            model=None,
            tokenizer=None,
            base=BASE,
            revision=revision,
            quantization="none",
            tasks={},
        )

    monkeypatch.setattr(subject, "load_adapter", loaded)
    monkeypatch.setattr("fin_qlora.inference.pipeline.load_staged", loaded)
    found = open_subject("org/adapter", revision="main", stages=stages)
    assert asked == [COMMIT]
    assert found.is_adapter


def test_a_calibration_goes_with_the_prompt_that_it_was_fitted_for(small_base):
    mine, others = tasks.get("tfns").contract(), tasks.get("fpb").contract()
    fitted = Calibration(temperature=2.0, **FIT)
    found = replace(
        of(load_tokenizer(small_base)),
        tasks={"my_own_name": mine, "fpb": others},
        calibrations={"my_own_name": fitted},
    )
    assert found.calibration(mine) is fitted
    assert found.calibration(others) is None
    assert of(load_tokenizer(small_base)).calibration(mine) is None
