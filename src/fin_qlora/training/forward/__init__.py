"""From a batch to its loss: no padding, shared beginnings once, the head where it is trained."""
