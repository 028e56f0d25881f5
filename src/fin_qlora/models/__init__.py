"""The base model as it is trained on: quantised, guarded, with its LoRA preset."""
