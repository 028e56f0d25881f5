"""Settings of TRL and transformers that a recipe would not follow; better refused than ignored."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..errors import UsageError

_PUBLISHING = "A checkpoint has no evidence; publish the adapter with `fin-qlora push`."
_EVALUATION = "The base and the adapter are evaluated before and after training, on every row."
_STOP_TOKEN = "The prompt contract says which token ends an answer."

#: Setting, or how its name begins -> why a recipe does not take it.
REFUSED = {
    "hub_token": "A command line is seen by others; set HF_TOKEN.",
    "push_to_hub": _PUBLISHING,
    "hub_": _PUBLISHING,
    "eval_": _EVALUATION,
    "do_eval": _EVALUATION,
    "do_predict": _EVALUATION,
    "batch_eval_metrics": _EVALUATION,
    "load_best_model_at_end": _EVALUATION,
    "metric_for_best_model": _EVALUATION,
    "prediction_loss_only": _EVALUATION,
    "per_device_eval_batch_size": "Its name here is evaluation_batch_size.",
    "dtype": "The base is computed in bfloat16.",
    "trust_remote_code": "Code that comes with a model is never run.",
    "model_init_kwargs": "The base is loaded as the other settings say.",
    "lora_task_type": "The base answers in words: it is always CAUSAL_LM.",
    "chat_template_path": "The base's own chat template is used.",
    "eos_token": _STOP_TOKEN,
    "pad_token": _STOP_TOKEN,
}


def refuse(parts: tuple[Any, ...]) -> None:
    """Raise UsageError for the first setting that is not the default and would not be followed."""
    found = [
        one.name
        for part in parts
        for one in fields(part)
        if getattr(part, one.name, None) not in (None, one.default)
    ]
    for beginning, reason in REFUSED.items():
        for name in found:
            if name == beginning or (beginning.endswith("_") and name.startswith(beginning)):
                raise UsageError(f"A recipe does not take '{name}'.", fix=reason)
