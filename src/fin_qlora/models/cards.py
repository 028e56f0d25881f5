"""Well-known graphics cards: the memory that their driver reports, the speed that is claimed.

Memory is what ``nvidia-smi`` prints as the total, in MiB, with error correction as the card is
shipped; from public listings of its output, not measured here. Drivers differ by some MiB. Speed is
from the makers' data sheets.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card's memory in MiB and its peak of dense bfloat16 matrix products in TFLOP/s.

    Attributes:
        memory_mib: the total that ``nvidia-smi`` prints, a little less than the name promises.
        tflops: with float32 sums, without structured sparsity, as on the maker's data sheet.
    """

    name: str
    memory_mib: int
    tflops: float

    @property
    def usable(self) -> int:
        """Return the bytes that a plan may fill.

        1 GiB for the driver's context and libraries and 5 % for fragmentation are left out. Both
        are assumptions, not measured.
        """
        return int(self.memory_mib * 2**20 * 0.95) - 2**30


CARDS = tuple(
    Card(name=name, memory_mib=memory, tflops=tflops)
    for name, memory, tflops in (
        ("A10", 23028, 125),
        ("A100-40GB", 40960, 312),
        ("A100-80GB", 81920, 312),
        ("B200", 183359, 2250),
        ("H100", 81559, 989),
        ("H100-PCIe", 81559, 756),
        ("H200", 143771, 989),
        ("L4", 23034, 121),
        ("L40S", 46068, 362),
        ("RTX-3090", 24576, 71),
        ("RTX-4090", 24564, 165),
        ("RTX-5090", 32607, 209),
        ("RTX-6000-Ada", 49140, 364),
        ("RTX-A5000", 24564, 111),
        ("RTX-A6000", 49140, 155),
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
