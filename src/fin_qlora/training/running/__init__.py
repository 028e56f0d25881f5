"""A run from its first step to its last: checkpoints, resuming, faults and what it cost."""
