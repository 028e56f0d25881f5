"""Asking a model as it stands: with its own masks, its own cache and its own logits.

It is slower than reading labels side by side behind a common beginning, and right for windows of
attention, recurrent layers and logits that are changed after the head.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from .padding import chosen_tokens, left_padded

#: Settings by which some architectures scale or cap their logits after the head.
_LOGIT_SETTINGS = (
    "final_logit_softcapping",
    "lm_head_multiplier",
    "logit_scale",
    "logits_soft_cap",
    "logits_scaling",
    "output_multiplier",
)


def takes_masks(config: Any, *, longest: int) -> bool:
    """Say whether prompts of up to so many tokens can be read under masks and caches of our own.

    For that every layer must attend to all that a mask allows, keys must stand where they stand
    however long the text becomes, and nothing may come after the head.
    """
    if any(getattr(config, name, None) not in (None, 1, 1.0) for name in _LOGIT_SETTINGS):
        return False
    if _turns_with_length(config, longest=longest):
        return False
    if not set(getattr(config, "layers_block_type", None) or ()) <= {"attention"}:
        return False  # recurrent layers between those of attention
    windows = {
        "full_attention": None,
        "sliding_attention": getattr(config, "sliding_window", None),
        "chunked_attention": getattr(config, "attention_chunk_size", None),
    }
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = [kind for kind, window in windows.items() if window is not None]
    if not set(kinds) <= set(windows):
        return False
    return all((windows[kind] or longest) >= longest for kind in kinds)


def _turns_with_length(config: Any, *, longest: int) -> bool:
    """Say whether a text of so many tokens turns all its positions otherwise than its beginning."""
    rope = getattr(config, "rope_parameters", None) or {}
    return any(
        one.get("rope_type") == "longrope" and longest > one["original_max_position_embeddings"]
        for one in (rope, *(part for part in rope.values() if isinstance(part, dict)))
    )


def takes_positions(model: Any) -> bool:
    """Say whether a model can be told where its tokens stand."""
    return "position_ids" in inspect.signature(model.forward).parameters


def totals_apart(
    causal: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Return the summed log-probability of each answer behind each prompt, (rows, answers)."""
    columns = []
    for answer in answers:
        ids, real = left_padded([[*prompt, *answer[:-1]] for prompt in prompts])
        logits = _logits(causal, ids, real, keep=len(answer)).float().log_softmax(-1)
        wanted = torch.tensor(answer, device=logits.device).expand(len(prompts), -1)
        columns.append(logits.gather(-1, wanted[..., None]).sum((1, 2)))
    return torch.stack(columns, dim=1).cpu()


def written_apart(
    causal: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int], room: int
) -> list[list[int]]:
    """Return the ids that follow each prompt, the stop token included, at most ``room``."""
    ids, real = left_padded(prompts)
    cache = DynamicCache(config=causal.config)
    answers: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    for _ in range(room):
        logits = _logits(causal, ids, real, keep=1, cache=cache)[:, -1]
        tokens = chosen_tokens(logits, model=causal)
        for row, token in zip(rows, tokens, strict=True):
            answers[row].append(token)
        going = [place for place, token in enumerate(tokens) if token not in stops]
        if not going:
            break
        real = torch.cat([real, torch.ones(len(rows), 1, dtype=torch.bool)], dim=1)
        if len(going) < len(rows):
            real = real[going]
            cache.batch_select_indices(torch.tensor(going, device=logits.device))
            rows = [rows[place] for place in going]
        ids = torch.tensor([tokens[place] for place in going])[:, None]
    return answers


def _logits(
    causal: Any, ids: torch.Tensor, real: torch.Tensor, *, keep: int, cache: Any = None
) -> torch.Tensor:
    """Return the logits of the last ``keep`` columns of ids (rows, width).

    Args:
        real: (rows, seen and width), what is no padding.
        cache: of what was seen before.
    """
    device = causal.get_input_embeddings().weight.device
    positions = (real.long().cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    told = {"position_ids": positions.to(device)} if takes_positions(causal) else {}
    logits: torch.Tensor = causal(
        input_ids=ids.to(device),
        attention_mask=real.long().to(device),
        past_key_values=cache,
        use_cache=cache is not None,
        logits_to_keep=keep,
        **told,
    ).logits
    return logits
