"""The demonstration's own logic: what it writes, when it fails, and that its hub always stops."""

import json
import sys
from types import SimpleNamespace

import psutil
import pytest

from fin_qlora.cli import demo_hub as hub_module
from fin_qlora.cli import demo_steps
from fin_qlora.cli.demo_steps import BASE, TASKS, Steps
from fin_qlora.errors import FinQloraError, HubUnreachableError, MissingDependencyError
from fin_qlora.recipes.catalogue import recipe_names
from fin_qlora.tasks import get

FIGURES = {
    "n": 300,
    "majority": 0.4,
    "base": 0.3,
    "tuned": 0.9,
    "base_f1": 0.2,
    "tuned_f1": 0.9,
    "seconds": 20.0,
}


@pytest.fixture
def steps(monkeypatch):
    """The steps without their programs; `steps.figures` is what training gives."""
    given = SimpleNamespace(figures=dict(FIGURES), stopped=[])

    class Hub:
        def __enter__(self):
            return SimpleNamespace(url="http://127.0.0.1:1234", token="t", environment={})

        def __exit__(self, *_error):
            given.stopped.append(True)

    monkeypatch.setattr(hub_module, "demo_hub", lambda *_args, **_options: Hub())
    monkeypatch.setattr(Steps, "publish_base", lambda _self: "b" * 40)
    monkeypatch.setattr(Steps, "train", lambda _self, _task, base_commit: given.figures)
    monkeypatch.setattr(Steps, "push", lambda _self, task: {"repo": task.repo, "commit": "c" * 40})
    monkeypatch.setattr(
        Steps,
        "predict",
        lambda _self, task, revision: [
            {"input": dict(row), "label": "person", "score": 0.8} for row in task.sentences
        ],
    )
    return given


def test_the_summary_is_written_and_printed(fin_qlora, steps, tmp_path):
    said = fin_qlora("demo", "--directory", tmp_path, "--format", "json")
    assert said.code == 0
    summary = json.loads(said.out)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["tasks"]["ner"]["repo"] == "demo/ner-tiny-r4"
    assert summary["base"] == {"repo": BASE, "commit": "b" * 40}
    assert steps.stopped == [True]


def test_the_table_says_that_the_data_is_synthetic(fin_qlora, steps, tmp_path):
    said = fin_qlora("demo", "--directory", tmp_path)
    assert "SYNTHETIC" in said.out
    assert "demo/sentiment-tiny-r4" in said.out
    assert TASKS[0].sentences[0]["entity"] in said.out


def test_quiet_prints_the_path_alone(fin_qlora, steps, tmp_path):
    said = fin_qlora("demo", "--directory", tmp_path, "--format", "quiet")
    assert (said.out, said.err) == (f"{tmp_path / 'summary.json'}\n", "")


@pytest.mark.parametrize("figure", ["majority", "base"])
def test_an_adapter_that_is_not_clearly_better_is_a_finding(fin_qlora, steps, tmp_path, figure):
    steps.figures[figure] = 0.81
    said = fin_qlora("demo", "--directory", tmp_path)
    assert said.code == 1
    assert "not 0.10 above" in said.err
    assert (tmp_path / "summary.json").exists()


def test_a_step_that_fails_ends_it_with_its_exit_code_and_no_summary(
    fin_qlora, steps, tmp_path, monkeypatch
):
    (tmp_path / "summary.json").write_text("of an earlier run")

    def full(*_arguments, **_options):
        raise demo_steps._stopped("Fine-tuning for 'ner' failed.", 4)

    monkeypatch.setattr(Steps, "train", full)
    said = fin_qlora("demo", "--directory", tmp_path)
    assert said.code == 4
    assert "Fine-tuning for 'ner' failed. The reason stands above." in said.err
    assert list(tmp_path.iterdir()) == []
    assert steps.stopped == [True]


def test_a_step_keeps_the_exit_code_of_its_program(tmp_path, monkeypatch):
    monkeypatch.setattr(
        demo_steps,
        "python_module",
        lambda *_: [sys.executable, "-c", "print('{}'); raise SystemExit(5)"],
    )
    hub = SimpleNamespace(environment={})
    steps = Steps(directory=tmp_path, hub=hub, started=0.0, quiet=True)
    with pytest.raises(FinQloraError, match="`fin-qlora push` failed") as caught:
        steps.push(TASKS[0])
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ('{"a": 1}\n', [{"a": 1}]), ('{\n "a": 1\n}\n{"a": 2}', [{"a": 1}, {"a": 2}])],
)
def test_objects_are_read_one_after_the_other(text, expected):
    assert demo_steps._objects(text) == expected


def test_recipes_and_sentences_fit_the_tasks():
    for task in TASKS:
        assert task.recipe in recipe_names()
        fields = get(f"synthetic_{task.name}").contract().fields
        assert len(task.sentences) == 3
        assert all(set(fields) == set(row) for row in task.sentences)


def servers():
    """The hubs that run below this process; other tests of it may have some of their own."""
    children = psutil.Process().children()
    return {c.pid for c in children if "fin_qlora_hub" in " ".join(c.cmdline())}


def test_the_hub_is_stopped_whatever_happens(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "the user's own")
    monkeypatch.setenv("no_proxy", "internal.example")
    monkeypatch.delenv("NO_PROXY", raising=False)

    before = servers()

    def use():
        with hub_module.demo_hub(tmp_path, user="demo") as hub:
            assert len(servers() - before) == 1
            assert hub.environment["HF_ENDPOINT"] == hub.url
            assert hub.environment["HF_TOKEN"] == hub.token != "the user's own"
            assert hub.environment["NO_PROXY"] == "internal.example,127.0.0.1"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert servers() == before


def test_a_missing_hub_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_module, "_MODULE", "no_such_package")
    with pytest.raises(MissingDependencyError, match=r"fin-qlora\[hub\]"):
        hub_module.demo_hub(tmp_path, user="demo").__enter__()


def test_a_hub_that_cannot_start_tells_why(tmp_path):
    (tmp_path / "store").write_text("a file where its folder should be")
    with pytest.raises(HubUnreachableError, match="fin-qlora-hub init"):
        hub_module.demo_hub(tmp_path, user="demo").__enter__()
