"""Fine-tune language models for finance with QLoRA, inside an institution's own walls."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> the module that holds it; loaded when first used, so that importing
# fin_qlora costs nothing and brings no torch
_PUBLIC = {
    "Adapter": "inference",
    "Generated": "inference",
    "Prediction": "inference",
    "load_adapter": "inference",
    "FinSFTConfig": "training",
    "FinSFTTrainer": "training",
    "XBRLMultiTaskCollator": "training",
    "PromptContract": "prompts",
    "Task": "tasks",
    "FinQloraError": "errors",
}

__all__ = [
    "Adapter",
    "FinQloraError",
    "FinSFTConfig",
    "FinSFTTrainer",
    "Generated",
    "Prediction",
    "PromptContract",
    "Task",
    "XBRLMultiTaskCollator",
    "__version__",
    "load_adapter",
]

if TYPE_CHECKING:
    from .errors import FinQloraError
    from .inference import Adapter, Generated, Prediction, load_adapter
    from .prompts import PromptContract
    from .tasks import Task
    from .training import FinSFTConfig, FinSFTTrainer, XBRLMultiTaskCollator


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fin_qlora' has no attribute '{name}'")
    from .offline import quiet_environment

    quiet_environment()
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
