"""Fine-tuning: TRL's SFTTrainer without its traps."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .collator import XBRLMultiTaskCollator
from .config import FinSFTConfig
from .result.recording import record_adapter
from .trainer import FinSFTTrainer

__all__ = ["FinSFTConfig", "FinSFTTrainer", "XBRLMultiTaskCollator", "record_adapter"]
