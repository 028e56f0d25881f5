"""How likely one answer is, whatever else could be answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ..errors import TruncatedAnswerError
from .reading.faults import check_finite

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..prompts import PromptContract


@torch.no_grad()
def mean_log_likelihood(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    row: Mapping[str, Any] | str,
    answer: str,
) -> float:
    """Return the natural log-likelihood of an answer, mean over its tokens and the end token.

    Raises TruncatedAnswerError when prompt and answer are longer than the model reads, and
    NotFiniteError when the model answers NaN.
    """
    causal = model.get_base_model() if hasattr(model, "peft_config") else model
    prompt, spoken = contract.prompt(tokenizer, row), contract.answer(tokenizer, answer)
    limit = causal.config.max_position_embeddings
    if len(prompt) + len(spoken) > limit:
        raise TruncatedAnswerError(
            f"Prompt and answer have {len(prompt) + len(spoken)} tokens; the base model reads at "
            f"most {limit}.",
            fix="Shorten the text.",
        )
    device = causal.get_input_embeddings().weight.device
    ids = torch.tensor([prompt + spoken[:-1]], device=device)
    training = model.training
    model.eval()
    try:
        logits = causal(input_ids=ids, use_cache=False, logits_to_keep=len(spoken)).logits[0]
    finally:
        model.train(training)
    wanted = torch.tensor(spoken, device=logits.device)
    mean = logits.float().log_softmax(-1).gather(-1, wanted[:, None]).mean()
    check_finite(mean, model=model)
    return float(mean)
