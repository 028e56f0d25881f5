"""Which files a repository keeps as pointers, as its .gitattributes says."""

from collections.abc import Iterable

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.git.patterns import Budget, Pattern, read_pattern
from fin_qlora_hub.git.trees import is_large

ATTRIBUTES_FILE = ".gitattributes"
MAX_BYTES = 64 * 1024
MAX_LINES = 2000
_POINTER = "filter=lfs"
_NO_FILTER = ("-filter", "!filter")


class Attributes:
    """What one file says of filters; later lines win over earlier ones.

    A line that means nothing is passed over, as git does, and so is all beyond the limits: no such
    file may keep a repository from taking others.
    """

    def __init__(self, text: str) -> None:
        lines = text.encode("utf-8", "replace")[:MAX_BYTES].decode("utf-8", "ignore").splitlines()
        self._lines = [found for line in lines[:MAX_LINES] if (found := _read(line)) is not None]

    def large(self, files: Iterable[tuple[str, int]]) -> list[bool]:
        """Say for each file, a path and a size in bytes, whether it becomes a pointer.

        Weights, and anything over 10 MB, become pointers whatever the attributes say.
        """
        budget = Budget()
        return [self._is_large(path, size, budget) for path, size in files]

    def _is_large(self, path: str, size: int, budget: Budget) -> bool:
        names = path.split("/")
        for pattern, pointer in reversed(self._lines):
            budget.spend(1)
            if pattern.matches(names, budget):
                return pointer or is_large(path, size)
        return is_large(path, size)


def _read(line: str) -> tuple[Pattern, bool] | None:
    """Return the pattern of a line and whether what matches becomes a pointer."""
    pattern, *attributes = line.split() or [""]
    filters = [one for one in attributes if one.startswith("filter=") or one in _NO_FILTER]
    if not filters or pattern.startswith(("!", '"')) or pattern.endswith("/"):
        return None
    try:
        found = read_pattern(pattern)
    except BadRequestError:
        return None
    return None if found is None else (found, filters[-1] == _POINTER)
