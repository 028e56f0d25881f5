"""The model card of the tiny base, written from the record of the run that made it."""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [llama, tiny, finance, test-fixture]
---

# fin-qlora tiny base

A Llama-architecture model of {parameters:,} parameters with its own tokenizer ({vocabulary:,}
tokens, byte-level BPE) and a Llama-3-style chat template. It exists so that tests, demos and
teaching of fine-tuning run in minutes on a processor, without a download.

**It must not be used for anything else.** It knows nothing reliable about finance, companies or
people; what it says without fine-tuning is noise. No decision about money, credit or a person may
rest on it or on an adapter of it.

## What it was trained on

No labelled row of any evaluation data set was used. Counts are of distinct texts after cleaning.

| source | used | licence |
|---|---|---|
| Narrative sentences of {filings} SEC filings (10-K and 10-Q), whole documents kept back: {kept} | {filing_sentences:,} sentences | public filings; the text belongs to the filers and is redistributed by EDGAR |
| XBRL terms with their definitions, train part (XBRL-Agent) | {definitions:,} | MIT |
| Financial mathematics, questions of the train part, without the answers (XBRL-Agent) | {questions:,} | MIT |
| Tweets of `zeroshot/twitter-financial-news-sentiment`, train part, **text without labels** | {tweets:,} | MIT |
| Invented headlines, sentences and exercises, made by this project's programs | drawn anew for each step | Apache-2.0 |

{dropped} tweets whose text (without web addresses and case) also stands in that set's validation file were
left out. Not used: Financial PhraseBank, FiQA, NWGI, Headline, NER, FiNER, FNXL, FinanceBench, XBRL
question sets.

### Exercises

Two thirds of the rows are short exercises in the form `Instruction: … Input: … Answer:` (and, for
{chat_share:.0%} of them, in the chat form). Every answer is set by a rule:

- on invented headlines and report sentences: does it point up, down or flat; did the analyst raise,
  cut or keep; are the results better, worse or the same; would an owner be glad, sad or calm; do two
  headlines point the same way; which firm is it about; which two verbs mean the same;
- on invented sentences that name people, firms and places: does a name tell who, which or where;
  could it have parents, issue shares, be on a map; which word stands beside it;
- on the unlabelled tweets: do the words of a message tell of up, down or neither, **by two word lists
  of this project** (sometimes with the words hidden); which ticker is named; do two halves fit;
- on all unlabelled texts: which of two opposite words (rises or falls, beats or misses) fills a gap;
  which topic a text has, by keyword and with the keyword hidden; which month is named; does one
  sentence follow another; what kind of item an XBRL definition describes; does a definition explain a
  term; does a text contain a number or a link; which word stands beside a marked word.

The questions about direction and about names are close to sentiment and to entity types: they are why
so small a base can be tuned in minutes, and a score reached from it says nothing about how another
base would do. None asks for sentiment or for the type of an entity, and none is answered with
negative, neutral, positive, person, organization or location, unless a word to be copied happens to
be one. The tokenizer has these six words as whole tokens by intent.

## Unseen text

Perplexity per token on text that was held back ({tweets_held} tweets, {definitions_held} definitions and
{filings_held} sentences of whole filings), beside two counting models of the same training text and
tokenizer. Codes of shortened web addresses are not counted.

| source | tokens | this model | bigram counts | unigram counts |
|---|---|---|---|---|
"""

_TAIL = """
## How it was made

`python -m fin_qlora.models.tiny.make --data_dir DATA --out DIR`: seed {seed}, {threads} thread(s), {steps:,}
steps, {tokens:,} tokens in {rows:,} rows, {minutes:.0f} minutes, final training loss {loss:.3f} (weighted: answers
count {answer_weight}, prompts {prompt_weight}), Muon and AdamW, bf16 autocast, weights stored in bf16. Versions: {versions}.
The numbers of this card are in `training.json`. Another processor or another version gives slightly other weights.

Shape: hidden {hidden_size}, {num_hidden_layers} layers, {num_attention_heads} heads of {head_dim} ({num_key_value_heads} for keys and values),
intermediate {intermediate_size}, tied embeddings, {max_position_embeddings} positions; trained on windows of {window} tokens.
Special tokens: `<|begin_of_text|>`, `<|end_of_text|>` (ends plain text and answers), `<|eot_id|>` (ends a turn),
`<|start_header_id|>`, `<|end_header_id|>`, and `<|finetune_right_pad_id|>` for padding.

Licence of the weights: Apache-2.0, as far as this project can grant it.
"""


def card(record: Mapping[str, Any]) -> str:
    """Return the model card for the record that `make` wrote; every number comes from it."""
    from .corpus import HELD_OUT_FILINGS
    from .rows import ANSWER_WEIGHT, CHAT_SHARE, PROMPT_WEIGHT

    counts, outcome, plan = record["corpus"], record["outcome"], record["plan"]
    head = _HEAD.format(
        parameters=record["parameters"],
        vocabulary=record["shape"]["vocab_size"],
        filings=counts["filings"],
        kept=", ".join(HELD_OUT_FILINGS),
        filing_sentences=counts["filing sentences"],
        definitions=counts["definitions"],
        questions=counts["mathematics questions"],
        tweets=counts["tweets"],
        dropped=counts["tweets dropped, also in the validation file"],
        chat_share=CHAT_SHARE,
        tweets_held=counts["held-out tweets"],
        definitions_held=counts["held-out definitions"],
        filings_held=counts["held-out filing sentences"],
    )
    lines = [
        f"| {source} | {p['tokens']:,} | **{p['model']:.1f}** | {p['bigram']:.1f} | {p['unigram']:.1f} |\n"
        for source, p in record["perplexity"].items()
    ]
    tail = _TAIL.format(
        seed=record["seed"],
        threads=record["threads"],
        steps=plan["steps"],
        window=plan["window"],
        tokens=outcome["tokens"],
        rows=outcome["rows"],
        minutes=outcome["seconds"] / 60,
        loss=outcome["final_loss"],
        answer_weight=ANSWER_WEIGHT,
        prompt_weight=PROMPT_WEIGHT,
        versions=", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        **record["shape"],
    )
    return head + "".join(lines) + tail
