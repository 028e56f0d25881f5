"""The rules of a .gitignore file."""

from collections.abc import Iterable, Sequence

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.git.patterns import Budget, read_pattern

MAX_BYTES = 64 * 1024
MAX_LINES = 2000


class IgnoreRules:
    """The rules of one file; later ones win over earlier ones."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        if len(text.encode("utf-8", "replace")) > MAX_BYTES or len(lines) > MAX_LINES:
            raise BadRequestError(
                f"The ignore rules have more than {MAX_BYTES:,} bytes or {MAX_LINES:,} lines: "
                "shorten them."
            )
        self._budget = Budget()
        self._rules = [rule for line in lines if (rule := read_pattern(line)) is not None]

    def ignores(self, paths: Iterable[str]) -> list[bool]:
        """Say for each file whether it is ignored; what is in an ignored folder always is."""
        folders: dict[tuple[str, ...], bool] = {}
        return [self._ignores(tuple(path.split("/")), folders) for path in paths]

    def _ignores(self, names: tuple[str, ...], folders: dict[tuple[str, ...], bool]) -> bool:
        for end in range(1, len(names)):
            folder = names[:end]
            if folder not in folders:
                folders[folder] = self._decides(folder, is_folder=True)
            if folders[folder]:
                return True
        return self._decides(names, is_folder=False)

    def _decides(self, names: Sequence[str], *, is_folder: bool) -> bool:
        for rule in reversed(self._rules):
            self._budget.spend(1)
            if (is_folder or not rule.folders_only) and rule.matches(names, self._budget):
                return not rule.negated
        return False
