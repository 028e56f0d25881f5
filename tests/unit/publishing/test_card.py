"""The card tells what the manifest knows, and nothing else."""

import pytest
import yaml

from fin_qlora.errors import ContractError
from fin_qlora.evidence import read_manifest
from fin_qlora.publishing import card
from fin_qlora.tasks import get


@pytest.fixture
def manifest(adapter):
    found = read_manifest(adapter)
    return found | {"base": found["base"] | {"id": "demo/base", "revision": "c" * 40}}


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
        ("accuracy", 0.9123),
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
    assert "| Always the commonest label | 0.410 | |" in text
    assert "| **This adapter** | 0.912 | 0.905 |" in text
    assert "10 also in evaluation" in text
    assert "| learning_rate | 0.002 |" in text
    assert "| Trained parameters | 30,720 |" in text
    assert manifest["base"]["digest"] in text
    assert manifest["contract_digest"] in text


def test_the_same_manifest_gives_the_same_card(manifest):
    assert card(manifest) == card(dict(reversed(manifest.items())))


def test_the_chat_prompt_is_described_as_one(manifest):
    contract = get("synthetic_ner").contract("chat")
    text = card(manifest | {"contract_digest": contract.digest})
    assert "chat template" in text
    assert "Instruction:" not in text


def test_another_contract_than_the_trained_one_is_refused(manifest):
    with pytest.raises(ContractError, match="not the one"):
        card(manifest, contract=get("tfns").contract())
    with pytest.raises(ContractError, match="another prompt"):
        card(manifest | {"contract_digest": "0" * 64})


def test_real_data_is_named_by_its_hub_id_and_licence(manifest):
    contract = get("tfns").contract()
    changes = {"task": "tfns", "synthetic": False, "contract_digest": contract.digest}
    text = card(manifest | changes | {"licence": "House terms", "noncommercial": True})
    data = front(text)
    assert data["datasets"] == ["zeroshot/twitter-financial-news-sentiment"]
    assert (data["license"], data["license_name"]) == ("other", "House terms")
    assert "Synthetic" not in text
    assert "forbids commercial use" in text


def test_it_says_which_texts_of_the_data_a_reader_gets(manifest):
    text = card(manifest)
    assert "`eval/` holds the text, the label and the scores of all 300 evaluation rows" in text
    assert "`fin_qlora.json` holds the text of up to eight" in text
    files = {name: sha for name, sha in manifest["files"].items() if "eval/" not in name}
    text = card(manifest | {"files": files})
    assert "`eval/`" not in text
    assert "The texts of the 300 evaluation rows are not published with it" in text
    assert "`fin_qlora.json` holds the text of up to eight" in text


def test_the_command_can_be_typed_again(manifest):
    text = card(manifest | {"command": ["classification.py", "--run_name", "two words"]})
    assert "classification.py --run_name 'two words'" in text
