"""Averaging a vector over processes with one bit for each number, and what was lost made good.

The two-stage scheme of 1-bit Adam (arXiv 2102.02888) and 0/1 Adam (arXiv 2202.06009): every process
sends the signs of each share of the vector, with scales, to the process that serves that share;
that one averages and sends the signs of the average, with scales, to all. What either stage lost is
added before the next time. Only ordinary collectives of torch.distributed, on bytes: the same code
on gloo and NCCL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import torch
import torch.distributed as dist

#: Numbers in a row. A row belongs to one tensor, so that a scale is looked up once for each row.
ROW = 32

_BITS = (128, 64, 32, 16, 8, 4, 2, 1)


class Segments:
    """Consecutive rows that share a scale; the numbers of a segment come first, then padding.

    Args:
        lengths: rows of each segment.
        counts: numbers of each segment.
    """

    def __init__(
        self, lengths: Sequence[int], counts: Sequence[int], *, device: torch.device
    ) -> None:
        starts = [0, *accumulate(lengths)][:-1]
        padding = [
            position
            for start, length, count in zip(starts, lengths, counts, strict=True)
            for position in range(start * ROW + count, (start + length) * ROW)
        ]
        self.lengths = torch.tensor(lengths, device=device)
        self.of_row = torch.arange(len(lengths), device=device).repeat_interleave(self.lengths)
        self._counts = torch.tensor(counts, device=device, dtype=torch.float64).clamp(min=1)
        self._padding = torch.tensor(padding, device=device, dtype=torch.long)

    def compress(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the signs of ``rows`` as bytes, a scale for each segment, and what that loses."""
        scales = self._mean_sizes(rows)
        positive = rows >= 0
        lost = rows - scaled(positive, scales[self.of_row])
        self.clear_padding(lost)
        return _packed(positive), scales, lost

    def clear_padding(self, rows: torch.Tensor) -> None:
        """Set to zero what is no number of a segment."""
        if self._padding.numel():
            rows.view(-1)[self._padding] = 0

    def _mean_sizes(self, rows: torch.Tensor) -> torch.Tensor:
        # in float64, so that numbers which are all of one size have exactly that size as mean
        sums = rows.abs().sum(1, dtype=torch.float64)
        totals = torch.segment_reduce(sums, "sum", lengths=self.lengths, unsafe=True)
        return (totals / self._counts).float()


class Layout:
    """Where tensors lie in a matrix of rows that is shared out evenly over the processes.

    Args:
        sizes: the numbers of each tensor.
        world: how many processes there are; each serves an equal share of the rows.
        rank: which of them this one is.
    """

    def __init__(
        self, sizes: Sequence[int], *, world: int, rank: int, device: torch.device
    ) -> None:
        lengths = [-(-size // ROW) for size in sizes]
        starts = [0, *accumulate(lengths)][:-1]
        self.share = -(-sum(lengths) // world)
        lengths[-1] += self.share * world - sum(lengths)  # so that all shares are equal
        self.world, self.rank, self.device = world, rank, device
        self.rows = self.share * world
        self.starts, self.sizes = starts, list(sizes)
        self.tensors = Segments(lengths, sizes, device=device)

        # a tensor may be served by several processes: one of its pieces by each
        pieces = [
            [
                (tensor, _overlap(server, self.share, start, length))
                for tensor, (start, length) in enumerate(zip(starts, lengths, strict=True))
                if _overlap(server, self.share, start, length)
            ]
            for server in range(world)
        ]
        #: Scales in one message; where a process serves fewer pieces, some mean nothing.
        self.slots = max(map(len, pieces))
        self.pieces = Segments(
            [len(rows) for _, rows in pieces[rank]],
            [
                min(max(sizes[tensor] - (rows.start - starts[tensor]) * ROW, 0), len(rows) * ROW)
                for tensor, rows in pieces[rank]
            ],
            device=device,
        )
        self.tensor_of_slot = torch.tensor(
            [[t for t, _ in part] + [0] * (self.slots - len(part)) for part in pieces],
            device=device,
        )
        slots = [
            (server * self.slots + slot, len(rows))
            for server, part in enumerate(pieces)
            for slot, (_, rows) in enumerate(part)
        ]
        numbers, repeats = (
            torch.tensor(column, device=device) for column in zip(*slots, strict=True)
        )
        self.slot_of_row = numbers.repeat_interleave(repeats)

    def matrix(self) -> torch.Tensor:
        """Return zeros, float32, of shape (rows, ROW)."""
        return torch.zeros(self.rows, ROW, device=self.device)

    def views(self, matrix: torch.Tensor, shapes: Iterable[torch.Size]) -> list[torch.Tensor]:
        """Return the tensors that lie in ``matrix``, as views."""
        flat = matrix.view(-1)
        return [
            flat[start * ROW : start * ROW + size].view(shape)
            for start, size, shape in zip(self.starts, self.sizes, shapes, strict=True)
        ]

    @property
    def sign_bytes(self) -> int:
        """Bytes of the signs of one share."""
        return self.share * ROW // 8

    @property
    def message_bytes(self) -> int:
        """Bytes of one message: the signs of a share, and its scales."""
        return self.sign_bytes + 4 * self.slots


def _overlap(server: int, share: int, start: int, length: int) -> range:
    """Return the rows of a tensor that a process serves."""
    return range(max(server * share, start), min((server + 1) * share, start + length))


class OneBitAverage:
    """The compressed average of a matrix over processes, with the errors of both of its stages.

    ``worker_error`` (rows, ROW) is what this process owes for what it sent, ``server_error``
    (share, ROW) for what it answered. ``sent_bytes`` counts what it has sent to others.
    """

    def __init__(self, layout: Layout, *, group: dist.ProcessGroup | None = None) -> None:
        self.layout = layout
        self.group = group
        self.worker_error = layout.matrix()
        self.server_error = torch.zeros(layout.share, ROW, device=layout.device)
        self.sent_bytes = 0

    def __call__(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return the average over the processes, to the bit the same on each of them."""
        layout = self.layout
        signs, scales, self.worker_error = layout.tensors.compress(matrix + self.worker_error)
        messages = torch.cat(
            [signs.view(layout.world, -1), scales[layout.tensor_of_slot].view(torch.uint8)], dim=1
        )
        received = torch.empty_like(messages)
        dist.all_to_all_single(received, messages, group=self.group)

        positive, scales = self._read(received)
        share = scaled(positive, scales[:, layout.pieces.of_row]).sum(0) / layout.world
        share += self.server_error
        layout.pieces.clear_padding(share)
        signs, scales, self.server_error = layout.pieces.compress(share)
        answer = torch.nn.functional.pad(
            torch.cat([signs, scales.view(torch.uint8)]), (0, 4 * (layout.slots - len(scales)))
        )
        answers = torch.empty_like(messages)
        dist.all_gather_single(answers.view(-1), answer, group=self.group)
        self.sent_bytes += 2 * (layout.world - 1) * layout.message_bytes

        positive, scales = self._read(answers)
        average = scaled(positive.view(-1, ROW), scales.view(-1)[layout.slot_of_row])
        layout.tensors.clear_padding(average)
        return average

    def _read(self, messages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the signs (world, share, ROW) and the scales (world, slots) of all messages."""
        layout = self.layout
        signs, scales = messages[:, : layout.sign_bytes], messages[:, layout.sign_bytes :]
        positive = _unpacked(signs).view(layout.world, layout.share, ROW)
        return positive, scales.contiguous().view(torch.float32)


def scaled(positive: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return a row's scale where ``positive``, and minus it elsewhere."""
    # exactly so, and many times as fast as torch.where on a CPU
    return positive * (2 * scales)[..., None] - scales[..., None]


def _packed(positive: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(_BITS, device=positive.device, dtype=torch.uint8)
    return (positive.view(-1, 8) * weights).sum(1, dtype=torch.uint8)


def _unpacked(packed: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(_BITS, device=packed.device, dtype=torch.uint8)
    return (packed[..., None] & weights) != 0
