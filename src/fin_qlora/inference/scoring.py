"""The log-likelihood of every label, in one forward pass per batch of rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..errors import TruncatedAnswerError, UsageError
from .batches import Progress, by_length

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..prompts import PromptContract

#: Most places in the attention masks of one batch (rows x width x width); 8 bytes each at most.
MASK_BUDGET = 32 * 1024 * 1024

#: Settings by which some architectures scale or cap their logits after the head.
_LOGIT_SETTINGS = (
    "final_logit_softcapping",
    "lm_head_multiplier",
    "logit_scale",
    "logits_scaling",
    "output_multiplier",
)


@torch.no_grad()
def score_labels(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    inputs: Sequence[Mapping[str, Any] | str],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Return, for each input in order, the probability of each label among the labels.

    The prompt is read once; the labels stand side by side behind it under a mask that hides them
    from one another, and the head runs only where an answer token is predicted. A label's score is
    the likelihood of all its tokens and the end token, so a label that begins another one is no
    problem.

    Args:
        batch_size: rows in one forward pass; rows are grouped by length, none is left out.
        progress: called with the number of rows done after each batch.
    """
    if not contract.labels:
        raise UsageError(
            f"The answers are free (grammar '{contract.grammar}'), so there are no labels to "
            "score.",
            fix="Generate answers instead.",
        )
    answers = contract.answers(tokenizer, contract.labels)
    prompts = contract.prompts(tokenizer, inputs)
    scores: dict[int, dict[str, float]] = {}
    causal = model.get_base_model() if hasattr(model, "peft_config") else model
    _check_model(causal)
    _check_lengths(prompts, answers, causal.config.max_position_embeddings)
    added = sum(len(answer) - 1 for answer in answers)
    training = model.training
    model.eval()
    try:
        with _masked_attention(causal):
            widths = [len(prompt) + added for prompt in prompts]
            for rows in by_length(widths, batch_size=batch_size, fits=_fits):
                batch = _batch([prompts[i] for i in rows], answers)
                totals = _log_likelihoods(causal, batch, answers)
                for i, row in zip(rows, totals.softmax(-1).tolist(), strict=True):
                    scores[i] = dict(zip(contract.labels, row, strict=True))
                if progress is not None:
                    progress(len(scores))
    finally:
        model.train(training)
    return [scores[i] for i in range(len(inputs))]


def _check_model(causal: Any) -> None:
    """Refuse a model that does more to its logits than the head: its scores would be wrong."""
    for setting in _LOGIT_SETTINGS:
        if getattr(causal.config, setting, None) not in (None, 1, 1.0):
            raise UsageError(
                f"The base model '{causal.config.model_type}' changes its logits by '{setting}', "
                "which label scoring does not know.",
                fix="Use a Llama-like base.",
            )


def _check_lengths(prompts: list[list[int]], answers: list[list[int]], limit: int) -> None:
    room = limit - max(map(len, answers))
    for number, prompt in enumerate(prompts, start=1):
        if len(prompt) > room:
            raise TruncatedAnswerError(
                f"Input {number} has {len(prompt)} tokens; with the answer, the base model reads "
                f"at most {room}.",
                fix="Shorten the text.",
            )


def _fits(rows: int, width: int) -> bool:
    return rows * width**2 <= MASK_BUDGET


def _batch(prompts: list[list[int]], answers: list[list[int]]) -> dict[str, torch.Tensor]:
    """Lay out ``[prompt, padding, answer 1, answer 2, …]``, each answer without its last token.

    Returns input_ids and position_ids of shape (rows, width) and ``allowed`` of shape
    (rows, width, width), true where the query (second axis) may read the key (third axis).
    """
    rows, longest = len(prompts), max(map(len, prompts))
    inner = [token for answer in answers for token in answer[:-1]]
    # the prompt is segment -1, padding segment -2, the answers segments 0, 1, …
    segments = [s for s, answer in enumerate(answers) for _ in answer[:-1]]
    offsets = [k for answer in answers for k in range(len(answer) - 1)]
    width = longest + len(inner)
    ids = torch.zeros(rows, width, dtype=torch.long)
    positions = torch.zeros(rows, width, dtype=torch.long)
    segment = torch.full((rows, width), -2, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        length = len(prompt)
        ids[row, :length] = torch.tensor(prompt)
        positions[row, :length] = torch.arange(length)
        segment[row, :length] = -1
        ids[row, longest:] = torch.tensor(inner, dtype=torch.long)
        positions[row, longest:] = length + torch.tensor(offsets, dtype=torch.long)
        segment[row, longest:] = torch.tensor(segments, dtype=torch.long)
    column = torch.arange(width)
    before = column[None, :, None] >= column[None, None, :]
    same = segment[:, :, None] == segment[:, None, :]
    prompt_key = segment[:, None, :] == -1
    itself = torch.eye(width, dtype=torch.bool)[None]  # padding reads itself: no empty softmax
    allowed = (before & (same | prompt_key) & (segment[:, None, :] != -2)) | itself
    return {
        "input_ids": ids,
        "position_ids": positions,
        "allowed": allowed,
        "last": torch.tensor([len(prompt) - 1 for prompt in prompts]),
    }


def _log_likelihoods(
    causal: Any, batch: dict[str, torch.Tensor], answers: list[list[int]]
) -> torch.Tensor:
    """Return the summed log-probability of each answer, shape (rows, answers), float32."""
    device, dtype = causal.get_input_embeddings().weight.device, causal.dtype
    blocked = torch.zeros(batch["allowed"].shape, dtype=dtype)
    blocked.masked_fill_(~batch["allowed"], torch.finfo(dtype).min)
    hidden = causal.base_model(
        input_ids=batch["input_ids"].to(device),
        attention_mask=blocked[:, None].to(device),
        position_ids=batch["position_ids"].to(device),
        use_cache=False,
    ).last_hidden_state
    rows = torch.arange(hidden.shape[0], device=hidden.device)
    last = hidden[rows, batch["last"].to(hidden.device)]
    inner = sum(len(answer) - 1 for answer in answers)
    states = torch.cat([last[:, None], hidden[:, hidden.shape[1] - inner :]], dim=1)
    head = causal.get_output_embeddings()
    logits = head(states.to(head.weight.dtype)).float().log_softmax(-1)
    totals, column = [], 1
    for answer in answers:
        total = logits[:, 0, answer[0]]
        for token in answer[1:]:
            total = total + logits[:, column, token]
            column += 1
        totals.append(total)
    return torch.stack(totals, dim=1).cpu()


@contextlib.contextmanager
def _masked_attention(causal: Any) -> Iterator[None]:
    """Run under an attention that takes a mask of our own; flash attention does not."""
    used = causal.config._attn_implementation
    if used in ("sdpa", "eager"):
        yield
        return
    causal.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        causal.set_attn_implementation(used)
