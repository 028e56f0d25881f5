"""The command that is published names no folder of the machine and holds no secret."""

import pytest

from fin_qlora.evidence.command import published_command

TFNS = "classification/tfns-tiny-4bit-r4"


@pytest.mark.parametrize(
    ("given", "published"),
    [
        (["/opt/x/recipes/classification.py"], ["classification.py"]),
        (["r.py", "--hub_token", "hf_abc", "--seed", "1"], ["r.py", "--seed", "1"]),
        (["r.py", "--hub-token=hf_abc", "--seed=1"], ["r.py", "--seed=1"]),
        (["--api_key", "a", "b", "--hub_password=x"], []),
        (["--data_dir=/home/alice/clients/ACME/"], ["--data_dir=ACME"]),
        (["--data_dir", "../../clients/ACME"], ["--data_dir", "ACME"]),
        (["--data_dir", "C:\\clients\\ACME"], ["--data_dir", "ACME"]),
        (["--output_dir", "~/x/out"], ["--output_dir", "out"]),
        (["--logging_dir=https://user:pass@host/x"], ["--logging_dir=x"]),
        (["--config", TFNS], ["--config", TFNS]),
        (["--config", "clients/acme.yaml"], ["--config", "acme.yaml"]),
        (["--eos_token", "<|eot_id|>"], ["--eos_token", "<|eot_id|>"]),
        (["--average_tokens_across_devices", "true"], ["--average_tokens_across_devices", "true"]),
        (
            ["--lora_target_modules", "q_proj", "k_proj"],
            ["--lora_target_modules", "q_proj", "k_proj"],
        ),
        (["--learning_rate", "1e-4"], ["--learning_rate", "1e-4"]),
    ],
)
def test_what_is_left_of_a_command(given, published):
    assert published_command(given) == published


def test_an_id_that_is_published_anyway_stays_whole():
    words = ["--model_name_or_path=demo/tiny-llama", "--data_dir", "demo/rows"]
    assert published_command(words, known={"demo/tiny-llama"}) == [
        "--model_name_or_path=demo/tiny-llama",
        "--data_dir",
        "rows",
    ]
