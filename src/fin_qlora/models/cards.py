"""Well-known graphics cards: what their makers say of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card's memory in GiB and its peak of dense bfloat16 matrix products in TFLOP/s.

    Attributes:
        tflops: with float32 sums, without structured sparsity, as on the maker's data sheet.
    """

    name: str
    memory_gib: int
    tflops: float

    @property
    def usable(self) -> int:
        """Return the bytes that a plan may fill.

        1 GiB for the driver's context and libraries and 5 % for fragmentation are left out. Both
        are assumptions, not measured.
        """
        return int(self.memory_gib * 2**30 * 0.95) - 2**30


CARDS = tuple(
    Card(name=name, memory_gib=memory, tflops=tflops)
    for name, memory, tflops in (
        ("A10", 24, 125),
        ("A100-40GB", 40, 312),
        ("A100-80GB", 80, 312),
        ("B200", 180, 2250),
        ("H100", 80, 989),
        ("H100-PCIe", 80, 756),
        ("H200", 141, 989),
        ("L4", 24, 121),
        ("L40S", 48, 362),
        ("RTX-3090", 24, 71),
        ("RTX-4090", 24, 165),
        ("RTX-5090", 32, 209),
        ("RTX-6000-Ada", 48, 364),
        ("RTX-A5000", 24, 111),
        ("RTX-A6000", 48, 155),
    )
)


def card(name: str) -> Card:
    """Return the card of that name; case, spaces, hyphens and "NVIDIA" do not matter.

    ``A100`` is the one of 80 GB. Raises UnknownNameError for a card that is not in the table.
    """
    wanted = _plain(name)
    for one in CARDS:
        if wanted in (_plain(one.name), _plain(one.name).removeprefix("rtx")):
            return one
    if wanted == "a100":
        return card("A100-80GB")
    raise UnknownNameError("graphics card", name, [one.name for one in CARDS])


def _plain(name: str) -> str:
    letters = "".join(each for each in name.lower() if each.isalnum())
    return letters.removeprefix("nvidia").removeprefix("geforce")
