"""The card tells what the manifest knows, and nothing else."""

import pytest
import yaml
from adapter_folder import base_identity, write_adapter

from fin_qlora.errors import ContractError
from fin_qlora.evidence import read_manifest
from fin_qlora.publishing import card
from fin_qlora.tasks import get


@pytest.fixture
def manifest(adapter):
    found = read_manifest(adapter)
    return found | {"base": found["base"] | {"id": "demo/base", "revision": "c" * 40}}


def of_task(manifest, **changes):
    """Return the manifest with its only task changed."""
    (task,) = manifest["tasks"]
    return manifest | {"tasks": [task | changes]}


def front(text):
    _, block, _ = text.split("---\n", 2)
    return yaml.safe_load(block)


def test_the_front_matter_lets_a_hub_file_it(manifest):
    data = front(card(manifest, repo_id="demo/ner"))
    assert data["base_model"] == "demo/base"
    assert data["base_model_relation"] == "adapter"
    assert data["library_name"] == "peft"
    assert data["pipeline_tag"] == "text-generation"
    assert data["license"] == "apache-2.0"
    assert {"lora", "finance", "synthetic_ner", "synthetic-data"} <= set(data["tags"])
    assert "datasets" not in data
    (result,) = data["model-index"][0]["results"]
    assert data["model-index"][0]["name"] == "ner"
    assert result["task"]["type"] == "text-classification"
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("accuracy", 0.91),
        ("f1", 0.905),
    ]


def test_synthetic_data_is_called_so_in_words(manifest):
    text = card(manifest)
    assert "**Synthetic data.**" in text
    assert "Decide nothing by it" in text


def test_it_shows_use_prompt_labels_results_data_and_provenance(manifest):
    text = card(manifest, repo_id="demo/ner")
    assert 'load_adapter("demo/ner")' in text
    contract = get("synthetic_ner").contract()
    row = {"text": "Ada signed.", "entity": "Ada"}
    shown = text.partition("```text\n")[2].partition("\n```")[0]
    assert shown.replace("{text}", row["text"]).replace("{entity}", "Ada") == (
        contract.prompt_text(row)
    )
    assert "| `person` | a natural person |" in text
    assert "On 300 rows" in text
    assert "| Always the commonest label | 0.410 | | |" in text
    assert "| **This adapter** | 0.910 | 0.872 to 0.937 | 0.905 |" in text
    assert "10 also in evaluation" in text
    assert "| learning_rate | 0.002 |" in text
    assert "| Trained parameters | 30,720 |" in text
    assert manifest["base"]["digest"] in text
    assert manifest["tasks"][0]["contract_digest"] in text


def test_the_same_manifest_gives_the_same_card(manifest):
    assert card(manifest) == card(dict(reversed(manifest.items())))


def test_the_chat_prompt_is_described_as_one(manifest):
    contract = get("synthetic_ner").contract("chat")
    text = card(of_task(manifest, contract_digest=contract.digest))
    assert "chat template" in text
    assert "Instruction:" not in text


def test_another_contract_than_the_trained_one_is_refused(manifest):
    with pytest.raises(ContractError, match="not the one"):
        card(manifest, contracts={"synthetic_ner": get("tfns").contract()})
    with pytest.raises(ContractError, match="another prompt"):
        card(of_task(manifest, contract_digest="0" * 64))


def test_real_data_is_named_by_its_hub_id_and_licence(manifest):
    contract = get("tfns").contract()
    changes = {"task": "tfns", "synthetic": False, "contract_digest": contract.digest}
    text = card(of_task(manifest, **changes, licence="House terms", noncommercial=True))
    data = front(text)
    assert data["datasets"] == ["zeroshot/twitter-financial-news-sentiment"]
    assert (data["license"], data["license_name"]) == ("other", "House terms")
    assert "Synthetic" not in text
    assert "forbids commercial use" in text


def test_it_says_which_texts_of_the_data_a_reader_gets(manifest):
    text = card(manifest)
    assert (
        "`eval/` holds the text, the right answer and the results of all 300 evaluation rows"
        in text
    )
    assert "`fin_qlora.json` holds the text of up to eight" in text
    files = {name: sha for name, sha in manifest["files"].items() if "eval/" not in name}
    text = card(manifest | {"files": files})
    assert "`eval/`" not in text
    assert "The texts of the 300 evaluation rows are not published with it" in text
    assert "`fin_qlora.json` holds the text of up to eight" in text


def test_the_command_can_be_typed_again(manifest):
    text = card(manifest | {"command": ["classification.py", "--run_name", "two words"]})
    assert "classification.py --run_name 'two words'" in text


@pytest.fixture
def several(tmp_path, base):
    return read_manifest(
        write_adapter(
            tmp_path / "several",
            base=base_identity(base, name="demo/base", revision="c" * 40),
            task="fiqa_sa",
            further=("fiqa_sa_target", "xbrl_value"),
        )
    )


def test_every_task_is_shown_with_its_figures(several):
    text = card(several, repo_id="demo/joint")
    assert "# One adapter for 3 tasks" in text
    assert "on the tasks `fiqa_sa`, `fiqa_sa_target`, `xbrl_value`." in text
    for line in (
        "| `fiqa_sa` | 300 | 0.410 | 0.330 | 0.910 |",
        "| `xbrl_value` | 300 | 0.410 | 0.330 | 0.910 |",
        'adapter.predict([{"kind": "…", "text": "…"}], task="fiqa_sa")',
        'adapter.generate([{"text": "…", "question": "…"}], task="xbrl_value")',
        "## `xbrl_value`\n\nXBRL: what value is reported.",
        "It is +0.500 in accuracy against always giving the commonest answer of `xbrl_value`.",
        "all 900 evaluation rows",
    ):
        assert line in text
    for task in several["tasks"]:
        assert task["contract_digest"] in text
    assert text.count("### Labels") == 2
    assert "Free answers of the kind `number`" in text
    shown = text.partition("## `xbrl_value`")[2]
    assert (
        "| Model | Accuracy | 95 % interval | Exact match | Exact | Rounded | Scale | Sign |"
        in shown
    )
    assert "| **This adapter** | 0.910 | 0.872 to 0.937 | 0.905 | 273 | 0 | 20 | 0 |" in shown


def test_the_model_index_has_every_task_once(several):
    data = front(card(several, repo_id="demo/joint"))
    results = data["model-index"][0]["results"]
    assert len(results) == 3
    names = [result["dataset"]["name"] for result in results]
    assert names == [get(task["task"]).title for task in several["tasks"]]
    assert [result["task"]["type"] for result in results] == [
        "text-classification",
        "text-classification",
        "text-generation",
    ]
    # the first two are views of one data set
    assert [result["dataset"].get("config") for result in results] == [
        "fiqa_sa",
        "fiqa_sa_target",
        None,
    ]
    assert [(m["type"], m["value"]) for m in results[2]["metrics"]] == [
        ("accuracy", 0.91),
        ("exact_match", 0.905),
    ]
    assert data["metrics"] == ["accuracy", "f1", "exact_match"]
    assert data["datasets"] == ["pauri32/fiqa-2018"]
    assert {"fiqa_sa", "xbrl_value", "text-classification"} <= set(data["tags"])
    assert data["license_name"] == "MIT, filings are public"


def test_only_the_tasks_that_are_made_up_are_called_so(several):
    first, *others = several["tasks"]
    text = card(several | {"tasks": [first | {"synthetic": True}, *others]})
    assert "The rows of `fiqa_sa` that it was trained and scored on were made by a program" in text
    assert "synthetic-data" in front(text)["tags"]


def test_an_adapter_of_free_answers_alone_calls_itself_no_classifier(several):
    text = card(several | {"tasks": several["tasks"][2:]})
    assert "# XBRL: what value is reported" in text
    assert "text-classification" not in front(text)["tags"]
    assert "It answers with one of the labels" not in text


INTERVALS = {
    "accuracy": {
        "wilson": {"low": 0.872, "high": 0.937, "confidence": 0.95, "method": "wilson"},
        "cluster_bootstrap": {"low": 0.801, "high": 0.966, "confidence": 0.95, "method": "x"},
    },
    "cluster": "text",
    "n_effective": 41,
    "few_clusters": False,
}


def with_intervals(manifest):
    (task,) = manifest["tasks"]
    found = task["evaluation"]
    told = found | {"adapter": found["adapter"] | {"intervals": INTERVALS}}
    return manifest | {"tasks": [task | {"evaluation": told}]}


def test_the_interval_is_that_over_clusters_where_the_evidence_has_it(manifest):
    text = card(with_intervals(manifest))
    assert "| **This adapter** | 0.910 | 0.801 to 0.966 | 0.905 |" in text
    assert "draw whole clusters of rows (by text: 41 of them)" in text
    assert "Intervals are Wilson's, for rows taken singly." in card(manifest)
    (result,) = front(text)["model-index"][0]["results"]
    assert result["metrics"][0]["name"] == "Accuracy (95 % interval 0.801 to 0.966, n=300)"


def test_every_figure_names_the_file_that_it_can_be_computed_from(manifest):
    file = "eval/synthetic_ner-adapter.parquet"
    text = card(manifest, repo_id="demo/ner", address="http://hub")
    assert "again from `eval/synthetic_ner-base.parquet` (SHA-256 `" in text
    assert f"`{file}` (SHA-256 `{manifest['files'][file][:16]}`)" in text
    (result,) = front(text)["model-index"][0]["results"]
    assert result["source"] == {"name": file, "url": f"http://hub/demo/ner/blob/main/{file}"}
    kept = {name: sha for name, sha in manifest["files"].items() if "eval/" not in name}
    text = card(manifest | {"files": kept}, repo_id="demo/ner", address="http://hub")
    assert "The rows from which they can be computed again are not published." in text
    assert "source" not in front(text)["model-index"][0]["results"][0]


def test_no_result_is_claimed_for_a_part_of_the_rows(manifest):
    (task,) = manifest["tasks"]
    files = [file | {"partial": True} for file in task["data"]["files"]]
    partial = of_task(manifest, data=task["data"] | {"files": files})
    few = manifest | {"configuration": manifest["configuration"] | {"evaluation_rows": 300}}
    enough = manifest | {"configuration": manifest["configuration"] | {"evaluation_rows": 301}}
    for one in (partial, few):
        text = card(one)
        assert "model-index" not in front(text)
        assert "no result is claimed on a hub" in text
        assert "| **This adapter** | 0.910 |" in text  # it is told, with what it is worth
    assert "model-index" in front(card(enough))
