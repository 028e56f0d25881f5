"""Tokenised together or alone, a text has the same ids."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from fin_qlora.prompts.shared_prefix import WORDS, cuts_at_line_breaks, tokenise_together
from fin_qlora.prompts.tokens import tokenise_one

#: Characters that pre-tokenisers treat unlike: line breaks, blanks of many kinds, marks, digits.
TRICKY = st.sampled_from("\n\r\t \u00a0\u2028\u3000\x1c\x85aZé\u0301'’s1٣²$:./-_{}<|>🙂個\u200d")
TEXTS = st.lists(
    st.text(st.one_of(TRICKY, TRICKY, st.characters(codec="utf-8")), max_size=40),
    min_size=2,
    max_size=4,
)
CORPUS = [
    "Net income rose 12 %.\n\nInput: it's\n  up\r\n",
    "a\n\n\nb \n c\n\n",
    "::\n//\n{}\n",
    "end\n\n\n",
] * 20


def made(*stages, normaliser=None, model=None, special=(), **options):
    """A small byte-level tokenizer with merges over line breaks and blanks."""
    inner = Tokenizer(model or models.BPE(**options))
    inner.normalizer = normaliser
    inner.pre_tokenizer = pre_tokenizers.Sequence(list(stages))
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>", *special],
        show_progress=False,
    )
    inner.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def split(words: str):
    return pre_tokenizers.Split(Regex(words), behavior="isolated")


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
KNOWN = {
    "llama": made(split(WORDS[0]), BYTES),
    "qwen": made(split(WORDS[1]), BYTES, normaliser=normalizers.NFC()),
}
OTHERS = {
    "gpt-2": made(GPT2),
    "no words": made(BYTES),
    "other words": made(split(r"\s+|\S+"), BYTES),
    "lower case": made(split(WORDS[0]), BYTES, normaliser=normalizers.Lowercase()),
    "dropout": made(split(WORDS[0]), BYTES, dropout=0.1),
}


@pytest.mark.parametrize("name", KNOWN)
@given(shared=st.text(TRICKY, max_size=20), rests=TEXTS)
@settings(max_examples=300)
def test_a_shared_beginning_changes_no_id(name, shared, rests):
    tokenizer = KNOWN[name]
    texts = [f"{shared}{rest}" for rest in rests]
    together = tokenise_together(tokenizer, texts, cuts_are_safe=True)
    assert together == [tokenise_one(tokenizer, text) for text in texts]


@given(shared=st.text(TRICKY, max_size=20), rests=TEXTS)
@settings(max_examples=200)
def test_nor_with_the_embedded_tokenizer(tokenizer, shared, rests):
    assert cuts_at_line_breaks(tokenizer)
    texts = [f"{shared}\nInput: {rest}" for rest in rests]
    together = tokenise_together(tokenizer, texts, cuts_are_safe=True)
    assert together == [tokenise_one(tokenizer, text) for text in texts]


def test_only_tokenizers_that_always_cut_there_are_trusted(tokenizer):
    assert all(map(cuts_at_line_breaks, KNOWN.values()))
    assert not any(map(cuts_at_line_breaks, OTHERS.values()))
    reaching = made(split(WORDS[0]), BYTES, special=["<eats blanks>"])
    assert not cuts_at_line_breaks(reaching)
    assert not cuts_at_line_breaks(object())


def test_the_check_can_fail():
    """GPT-2's words do differ when the text is cut, so the trust above is not idle."""
    texts = ["a\n\n\nb", "a\n\n\nc"]
    assert tokenise_together(OTHERS["gpt-2"], texts, cuts_are_safe=True) != [
        tokenise_one(OTHERS["gpt-2"], text) for text in texts
    ]
    assert tokenise_together(OTHERS["gpt-2"], texts, cuts_are_safe=False) == [
        tokenise_one(OTHERS["gpt-2"], text) for text in texts
    ]


def test_the_shared_beginning_is_used(monkeypatch, tokenizer):
    from fin_qlora.prompts import shared_prefix

    seen = []
    plain = shared_prefix.tokenise
    monkeypatch.setattr(
        shared_prefix, "tokenise", lambda t, texts: seen.append(texts) or plain(t, texts)
    )
    texts = ["Instruction: the same\nInput: one", "Instruction: the same\nInput: two"]
    tokenise_together(tokenizer, texts, cuts_are_safe=True)
    assert seen == [["Input: one", "Input: two"]]
