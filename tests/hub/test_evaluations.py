"""Results that models tell of are read, shown and ranked; broken ones only say so."""

import json

import pytest
import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.errors import RepositoryNotFoundError

from fin_qlora_hub.cards.evaluations import MAX_ENTRIES, read_results

GOOD = {"dataset": {"id": "desk/bench", "task_id": "t"}, "value": 0.5}


def results(*entries: EvalResultEntry) -> bytes:
    return yaml.safe_dump(eval_result_entries_to_yaml(list(entries))).encode()


@pytest.fixture
def bench(api, new_name) -> str:
    name = new_name("desk")
    api.create_repo(name, repo_type="dataset")
    return name


@pytest.fixture
def model(running, new_name):
    """Make a model that tells of its results."""

    def make(*entries, namespace="desk", caller="alice", card=None, content=None) -> str:
        api, name = running.api(caller), new_name(namespace)
        api.create_repo(name)
        if card:
            api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=name)
        api.upload_file(
            path_or_fileobj=results(*entries) if content is None else content,
            path_in_repo=".eval_results/r.yaml",
            repo_id=name,
        )
        return name

    return make


def test_a_model_shows_what_it_tells(api, bench, model) -> None:
    told = EvalResultEntry(
        dataset_id=bench,
        task_id="headline",
        value=0.87,
        date="2026-01-15T10:30:00Z",
        source_url="https://example.org/run",
        source_name="run 7",
        notes="four-bit",
    )
    name = model(told, EvalResultEntry(dataset_id=bench, task_id="ner", value=3))
    shown = api.model_info(name, expand=["evalResults"]).eval_results
    assert shown == [told, EvalResultEntry(dataset_id=bench, task_id="ner", value=3.0)]
    api.delete_file(".eval_results/r.yaml", name)
    assert not api.model_info(name, expand=["evalResults"]).eval_results
    assert api.get_dataset_leaderboard(bench, base_model_only=False) == []


def test_models_rank_by_task(api, running, bench, model) -> None:
    def told(value, task="a", **more) -> EvalResultEntry:
        return EvalResultEntry(dataset_id=bench.upper(), task_id=task, value=value, **more)

    low = model(told(0.1), told(7.0, "b"))
    high = model(told(0.9, notes="tools"))
    tied = model(told(0.9))
    adapter = model(told(0.95), card=b"---\nbase_model: org/base\n---\n")
    text = model(told("excellent"))
    board = api.get_dataset_leaderboard(bench)
    assert [(e.rank, e.model_id, e.taskId, e.value) for e in board] == [
        (1, high, "a", 0.9),
        (1, tied, "a", 0.9),
        (1, low, "b", 7.0),
        (3, low, "a", 0.1),
    ]
    assert board[0].notes == "tools"
    assert board[0].author.name == "desk"
    assert not board[0].verified
    assert board[0].filename == ".eval_results/r.yaml"
    whole = api.get_dataset_leaderboard(bench, base_model_only=False)
    assert whole[0].model_id == adapter
    assert text not in {e.model_id for e in whole}
    with running.http() as http:
        one = http.get(f"/api/datasets/{bench}/leaderboard", params={"task_id": "b"}).json()
    assert [e["modelId"] for e in one] == [low]


def test_nobody_sees_models_that_are_not_theirs(api, running, bench, model) -> None:
    api.update_repo_settings(bench, repo_type="dataset", visibility="public")
    hidden = model(
        EvalResultEntry(dataset_id=bench, task_id="a", value=1.0),
        namespace="walter",
        caller="walter",
    )
    seen = model(EvalResultEntry(dataset_id=bench, task_id="a", value=0.5))
    ranks = {
        caller: [(e.rank, e.model_id) for e in running.api(caller).get_dataset_leaderboard(bench)]
        for caller in ("alice", "bob", "walter", "carol")
    }
    assert ranks["walter"] == [(1, hidden), (2, seen)]
    assert ranks["alice"] == ranks["bob"] == [(1, seen)]
    assert ranks["carol"] == []
    api.update_repo_settings(bench, repo_type="dataset", visibility="private")
    with pytest.raises(RepositoryNotFoundError):
        running.api("carol").get_dataset_leaderboard(bench)


def test_a_broken_file_says_so_and_keeps_no_commit_out(api, running, bench, model, caplog) -> None:
    name = model(content=b"- value: [")
    assert api.model_info(name, expand=["evalResults"]).eval_results == []
    with running.http() as http:
        answer = http.get(f"/api/models/{name}", params={"expand": "evalResults"})
    shown = answer.json()["evalResults"]
    assert shown[0]["filename"] == ".eval_results/r.yaml"
    assert "not valid YAML" in shown[0]["error"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xff", "UTF-8"),
        (b"a: 1", "list"),
        (b"- 1", "0"),
        (b"&a [*a]", "aliases"),
        (b"- value: .nan\n  dataset: {id: a/b, task_id: t}", "JSON"),
        (b"- dataset: {id: a/b, task_id: t}", "0.value"),
        (b"- value: true\n  dataset: {id: a/b, task_id: t}", "0.value"),
        (b"- value: 1\n  dataset: {id: a, task_id: t}", "0.dataset.id"),
        (b"- value: 1\n  dataset: {id: a/b}", "0.dataset.task_id"),
        (b"- value: 1\n  dataset: {id: a/b, task_id: t}\n  source: {name: x}", "0.source.url"),
        (b"[" * 60 + b"]" * 60, "levels"),
        (b" " * 70_000, "bytes"),
        (json.dumps([GOOD] * (MAX_ENTRIES + 1)).encode(), "list of at most"),
    ],
)
def test_what_is_wrong_is_named(content, error) -> None:
    found = read_results(".eval_results/x.yaml", content)
    assert found.entries == ()
    assert error in found.error


def test_good_entries_are_kept_whole() -> None:
    found = read_results("f", json.dumps([GOOD, {**GOOD, "value": "A+", "extra": 1}]).encode())
    assert found.entries == (GOOD, {**GOOD, "value": "A+"})
