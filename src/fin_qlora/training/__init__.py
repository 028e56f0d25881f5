"""Fine-tuning: TRL's SFTTrainer without its traps."""

from .collator import XBRLMultiTaskCollator
from .config import FinSFTConfig
from .trainer import FinSFTTrainer

__all__ = ["FinSFTConfig", "FinSFTTrainer", "XBRLMultiTaskCollator"]
