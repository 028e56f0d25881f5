"""The rows of one step of the optimizer: what a run is compared by, whatever computes it."""

from __future__ import annotations

from ...errors import UsageError


def accumulation_for(global_batch: int, *, micro_batch: int, processes: int, given: int = 1) -> int:
    """Return the micro-batches that a process accumulates for a step of ``global_batch`` rows.

    Args:
        micro_batch: rows that a process holds at once.
        processes: processes that compute side by side.
        given: the accumulation that was asked for; 1 when none was.

    Raises:
        UsageError: the global batch cannot be cut so, or another accumulation was asked for.
    """
    if global_batch < 1 or micro_batch < 1:
        name, value = (
            ("global_batch_size", global_batch)
            if global_batch < 1
            else ("per_device_train_batch_size", micro_batch)
        )
        raise UsageError(f"{name} is {value}.", fix="A batch has at least one row.")
    at_once = micro_batch * processes
    accumulation, rest = divmod(global_batch, at_once)
    if rest:
        raise UsageError(
            f"global_batch_size {global_batch} is no multiple of the {at_once} rows computed at "
            f"once ({_product(micro_batch, processes)}).",
            fix=_fitting(global_batch, micro_batch=micro_batch, processes=processes),
        )
    if given not in (1, accumulation):
        raise UsageError(
            f"gradient_accumulation_steps is {given}, but global_batch_size {global_batch} needs "
            f"{accumulation} ({_product(micro_batch, processes)}).",
            fix="Leave gradient_accumulation_steps out: it follows.",
        )
    return accumulation


def _product(micro_batch: int, processes: int) -> str:
    return f"per_device_train_batch_size {micro_batch} x {processes} processes"


def _fitting(global_batch: int, *, micro_batch: int, processes: int) -> str:
    each, rest = divmod(global_batch, processes)
    if rest:
        pairs = []
        for share in filter(None, (each, each + 1)):
            largest = _largest_part(share, at_most=micro_batch)
            other = "" if largest == micro_batch else f" with per_device_train_batch_size {largest}"
            pairs.append(f"{share * processes}{other}")
        return f"Set global_batch_size to {' or '.join(pairs)}, or start fewer processes."
    return f"Set per_device_train_batch_size to {_largest_part(each, at_most=micro_batch)}."


def _largest_part(whole: int, *, at_most: int) -> int:
    return next(size for size in range(min(at_most, whole), 0, -1) if whole % size == 0)
