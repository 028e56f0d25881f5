"""The compressed average: what it loses is owed, and what is already of one size loses nothing."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from fin_qlora.training.optimizers.one_bit import ROW, Layout, OneBitAverage, Segments

CPU = torch.device("cpu")


@pytest.fixture
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def rows_of(*tensors: torch.Tensor) -> tuple[Segments, torch.Tensor]:
    """Lay tensors out as segments, each padded to whole rows with numbers that are no zeros."""
    lengths = [-(-t.numel() // ROW) for t in tensors]
    rows = torch.full((sum(lengths), ROW), 77.0)
    start = 0
    for tensor, length in zip(tensors, lengths, strict=True):
        rows.view(-1)[start * ROW : start * ROW + tensor.numel()] = tensor
        start += length
    segments = Segments(lengths, [t.numel() for t in tensors], device=CPU)
    segments.clear_padding(rows)
    return segments, rows


def test_what_is_of_one_size_is_compressed_without_loss():
    size = torch.tensor(0.1)  # no sum of these is exact in float32
    signs = torch.where(torch.rand(1000, generator=torch.Generator().manual_seed(0)) < 0.5, -1, 1)
    segments, rows = rows_of(signs * size, torch.full((50,), 3.0), torch.zeros(7))
    packed, scales, lost = segments.compress(rows)
    assert scales.tolist() == [size.item(), 3.0, 0.0]
    assert packed.numel() == rows.numel() // 8
    assert not lost.any()


def test_each_tensor_has_a_scale_of_its_own():
    small, large = torch.full((40,), 1e-6), torch.linspace(-900, 900, 64)
    segments, rows = rows_of(small, large)
    _, scales, lost = segments.compress(rows)
    assert scales[0].item() == small[0].item()
    assert scales[1].item() == pytest.approx(large.abs().mean().item())
    assert not lost[:2].any()


def test_padding_neither_counts_nor_is_owed():
    segments, rows = rows_of(torch.tensor([4.0, -2.0]), torch.ones(33))
    _, scales, lost = segments.compress(rows)
    assert scales.tolist() == [3.0, 1.0]
    assert lost[0, :3].tolist() == [1.0, 1.0, 0.0]
    assert not lost.view(-1)[2:].any()


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_row_is_served_once_by_pieces_of_the_tensors(world):
    sizes = [5, 256, 100, 33, 1]
    layouts = [Layout(sizes, world=world, rank=rank, device=CPU) for rank in range(world)]
    first = layouts[0]
    assert first.rows == first.share * world
    served = torch.cat(
        [layout.tensor_of_slot[rank][layout.pieces.of_row] for rank, layout in enumerate(layouts)]
    )
    assert served.tolist() == first.tensors.of_row.tolist()
    assert len(first.slot_of_row) == first.rows

    numbered = first.matrix()
    views = first.views(numbered, [torch.Size([size]) for size in sizes])
    for number, view in enumerate(views, start=1):
        view.fill_(number)
    first.tensors.clear_padding(numbered)
    assert [int((numbered == number).sum()) for number in range(1, 6)] == sizes
    for rank, layout in enumerate(layouts):
        share = numbered[rank * layout.share : (rank + 1) * layout.share].clone()
        kept = share.clone()
        layout.pieces.clear_padding(share)
        assert share.equal(kept), "the padding of the pieces is that of the tensors"


def test_what_is_answered_and_what_is_owed_add_up(alone):
    layout = Layout([300, 64, 1], world=1, rank=0, device=CPU)
    average = OneBitAverage(layout)
    generator = torch.Generator().manual_seed(3)
    given, answered = layout.matrix(), layout.matrix()
    sizes = []
    for _ in range(50):
        value = torch.randn(layout.rows, ROW, generator=generator)
        layout.tensors.clear_padding(value)
        given += value
        answered += average(value)
        sizes.append(float(average.worker_error.norm() + average.server_error.norm()))
    torch.testing.assert_close(
        answered + average.worker_error + average.server_error, given, atol=1e-4, rtol=0
    )
    assert max(sizes[25:]) < 3 * max(sizes[:25]), "what is owed does not grow"
    assert average.sent_bytes == 0, "nobody else to send to"
