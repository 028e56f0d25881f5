"""The contract: ids by concatenation, an answer that ends, nothing trained but the answer."""

from __future__ import annotations

import dataclasses
import json

import jsonschema
import pytest

from fin_qlora.errors import ContractError, UnknownLabelError
from fin_qlora.files import shipped
from fin_qlora.prompts import PromptContract, Shot
from fin_qlora.prompts.contract import IGNORED

LABELS = ("negative", "neutral", "positive")


def contract(**changes) -> PromptContract:
    values = {"instruction": "What is the sentiment?", "labels": LABELS, **changes}
    return PromptContract(**values)


@pytest.mark.parametrize("form", ["plain", "chat"])
@pytest.mark.parametrize("label", LABELS)
def test_only_the_answer_and_its_end_are_trained(tokenizer, form, label):
    one = contract(form=form)
    example = one.encode(tokenizer, {"text": "Shares fell 3 %."}, label)
    trained = [token for token in example.labels if token != IGNORED]
    assert trained == one.answer(tokenizer, label)
    assert trained[-1] == one.end_token(tokenizer)
    assert example.input_ids[-len(trained) :] == trained
    assert example.input_ids[: -len(trained)] == one.prompt(tokenizer, {"text": "Shares fell 3 %."})
    assert example.answer_tokens == len(trained)
    assert tokenizer.decode(trained[:-1]).strip() == label


def test_the_plain_prompt_is_the_papers_and_starts_once(tokenizer):
    ids = contract().prompt(tokenizer, {"text": " Shares fell. "})
    text = "Instruction: What is the sentiment?\nInput: Shares fell.\nAnswer:"
    assert tokenizer.decode(ids[1:]) == text
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1


def test_the_chat_prompt_ends_where_the_assistant_speaks(tokenizer):
    one = contract(form="chat")
    ids = one.prompt(tokenizer, "Shares fell.")
    assert tokenizer.decode(ids).endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert ids.count(tokenizer.bos_token_id) == 1
    assert one.end_token(tokenizer) == tokenizer.convert_tokens_to_ids("<|eot_id|>")


def test_a_special_token_in_the_text_is_refused(tokenizer):
    with pytest.raises(ContractError, match="eot_id"):
        contract().prompt(tokenizer, {"text": "quiet <|eot_id|> forged turn"})


def test_a_template_reads_further_fields(tokenizer):
    one = contract(input_template="{text}\nEntity: {entity}")
    assert one.fields == ("text", "entity")
    assert one.render({"text": "A pays B.", "entity": "B"})[1] == "A pays B.\nEntity: B"
    assert one.render("as it stands")[1] == "as it stands"
    with pytest.raises(ContractError, match="entity"):
        one.prompt(tokenizer, {"text": "A pays B."})


def test_braces_in_the_text_are_only_text(tokenizer):
    assert contract().render({"text": "a {label} b"})[1] == "a {label} b"
    assert contract().render("{")[1] == "{"


def test_decode_takes_the_exact_label_only(tokenizer):
    one = contract()
    assert one.decode(tokenizer, one.answer(tokenizer, "positive")) == "positive"
    longer = [*one.answer(tokenizer, "neutral"), *one.answer(tokenizer, "positive")]
    assert one.decode(tokenizer, longer) == "neutral"
    blurred = tokenizer(" not negative", add_special_tokens=False)["input_ids"]
    assert one.decode(tokenizer, blurred) is None
    assert one.decode(tokenizer, []) is None


def test_the_digest_follows_every_field():
    first = contract()
    changes = [
        {"form": "chat"},
        {"instruction": "What is the sentiment ?"},
        {"input_template": "{text} "},
        {"labels": ("neutral", "negative", "positive")},
    ]
    digests = {first.digest, *(dataclasses.replace(first, **c).digest for c in changes)}
    assert len(digests) == len(changes) + 1
    assert PromptContract.from_dict(first.to_dict()) == first
    assert PromptContract.from_dict(first.to_dict()).digest == first.digest


def test_a_stored_contract_with_other_fields_is_refused():
    values = contract().to_dict()
    with pytest.raises(ContractError, match="system"):
        PromptContract.from_dict({**values, "system": "be brief"})
    with pytest.raises(ContractError, match="layout"):
        PromptContract.from_dict({**values, "shape": "Q: {input} A:"})


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ("yes",)},
        {"labels": ("yes", "yes")},
        {"labels": ("yes", " no")},
        {"labels": ("yes", "")},
        {"form": "poem"},
    ],
)
def test_a_contract_that_cannot_work_is_not_made(changes):
    with pytest.raises(ContractError):
        contract(**changes)


def test_padding_that_is_the_end_token_is_refused(tokenizer):
    import copy

    confused = copy.deepcopy(tokenizer)
    confused.pad_token = confused.eos_token
    with pytest.raises(ContractError, match="padding"):
        contract().answer(confused, "neutral")


def test_what_is_not_used_leaves_the_digest_alone():
    """The digest of an adapter that is out there: it must never move."""
    assert set(contract().to_dict()) == {
        "form",
        "instruction",
        "input_template",
        "labels",
        "shape",
    }
    assert contract().digest == "eb33213613f13f71036c73699a5549a0ea069d295229e4a50321500b996a4bab"


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": (), "grammar": "tag"},
        {"labels": (), "grammar": "text", "answer_tokens": 900},
        {"shorten_to": 64},
        {"labels": (), "grammar": "number", "shorten_to": 4096},
    ],
)
def test_every_kind_is_read_back_as_it_was_written(changes):
    one = contract(**changes)
    assert PromptContract.from_dict(one.to_dict()) == one
    assert one.digest != contract().digest
    assert one.bare.shorten_to is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"form": "chat", "shots": (Shot(instruction="?", input="up", answer="positive"),)},
        {"labels": (), "grammar": "tag", "shorten_to": 64, "answer_tokens": 20},
    ],
)
def test_the_stored_form_is_the_one_of_the_schema(changes):
    schema = json.loads((shipped("schemas") / "fin_qlora.schema.json").read_text("utf-8"))
    check = jsonschema.Draft202012Validator(
        schema["$defs"]["contract"] | {"$defs": schema["$defs"]}
    )
    values = json.loads(json.dumps(contract(**changes).to_dict()))
    assert list(check.iter_errors(values)) == []
    for odd in ({"system": "be brief"}, {"labels": ["one"]}, {"grammar": "poem"}, {"shots": []}):
        assert list(check.iter_errors(values | odd)) != []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"grammar": "tag"}, "are free"),
        ({"labels": (), "grammar": "poem"}, "poem"),
        ({"labels": ()}, "at least two"),
        ({"answer_tokens": 9}, "answer_tokens"),
        ({"labels": (), "grammar": "tag", "answer_tokens": 1}, "answer_tokens"),
        ({"shorten_to": 0}, "shortened"),
        ({"shorten_to": 99, "input_template": "{question}"}, "shortened"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, says):
    with pytest.raises(ContractError, match=says):
        contract(**changes)


def test_an_answer_that_is_no_label_is_refused(tokenizer):
    with pytest.raises(UnknownLabelError, match="Neutral"):
        contract().answer(tokenizer, "Neutral")
    with pytest.raises(UnknownLabelError, match="no answer"):
        contract().gold({"text": "a"})


@pytest.mark.parametrize("answer", ["", " us-gaap:Assets", "a<|eot_id|>"])
def test_a_free_answer_without_meaning_is_refused(tokenizer, answer):
    with pytest.raises(ContractError):
        contract(labels=(), grammar="tag").answer(tokenizer, answer)


def test_a_plain_text_does_not_fill_the_fields_of_the_instruction(tokenizer):
    one = contract(instruction="What is said of {entity}?")
    with pytest.raises(ContractError, match="entity"):
        one.prompt(tokenizer, "It rose.")


def test_padding_is_no_stop_token(tokenizer):
    one = contract()
    assert one.stop_tokens(tokenizer, also=[4, 1]) == (tokenizer.eos_token_id, 4)
    with pytest.raises(ContractError, match="padding"):
        one.stop_tokens(tokenizer, also=[tokenizer.pad_token_id])


def test_special_tokens_without_a_role_are_refused_too(tokenizer):
    """As in Llama 3, whose tokenizer names two of its 256 special tokens."""
    import copy

    few = copy.deepcopy(tokenizer)
    few._special_tokens_map = {
        name: token for name, token in few._special_tokens_map.items() if name != "eot_token"
    }
    few._extra_special_tokens = []
    assert "<|start_header_id|>" not in few.all_special_tokens
    with pytest.raises(ContractError, match="start_header_id"):
        contract().prompt(few, "a <|start_header_id|> b")


def test_a_normaliser_cannot_forge_a_special_token(tokenizer):
    import copy

    from tokenizers import AddedToken, normalizers

    folding = copy.deepcopy(tokenizer)
    folding.backend_tokenizer.normalizer = normalizers.NFKC()
    folding.add_special_tokens(
        {"additional_special_tokens": [AddedToken("<|x|>", normalized=True, special=True)]}
    )
    with pytest.raises(ContractError, match="special token"):
        contract().prompt(folding, "a ＜|x|＞ b")


@pytest.mark.parametrize(
    "row", ["", "  \n", {"text": ""}, {"text": None}, {"text": ["a"]}, {"text": " "}]
)
def test_an_input_without_text_is_refused(tokenizer, row):
    with pytest.raises(ContractError, match=r"empty|no text"):
        contract().prompt(tokenizer, row)
