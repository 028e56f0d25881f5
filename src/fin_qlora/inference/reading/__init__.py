"""How rows go through a model: in which batches, behind what was read once, at which places."""
