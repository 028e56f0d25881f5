"""Every import inside the library points down the list of rooms, or stays in its room."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "src" / "fin_qlora"
HUB = ROOT / "hub" / "src" / "fin_qlora_hub"

# From the top of the house to its ground; docs/ and CONTRIBUTING.md say what each room is for.
ROOMS = (
    "cli",
    "recipes",
    "reports",
    "serving",
    "publishing",
    "training",
    "evaluation",
    "inference",
    "evidence",
    "models",
    "data",
    "xbrl",
    "tasks",
    "prompts",
)
# The modules beside the rooms stand on nothing, and every room may stand on them.
GROUND = {file.stem for file in LIBRARY.glob("*.py")} - {"__init__", "__main__"}


def imported(source: str, module: str, *, is_package: bool) -> set[str]:
    """The absolute dotted names that ``source``, the text of ``module``, imports anywhere in it."""
    package = module if is_package else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def height(name: str) -> int | None:
    """How high in the house ``fin_qlora.…`` lies; None for what is not of this package."""
    top, _, rest = name.partition(".")
    if top != "fin_qlora":
        return None
    room = rest.partition(".")[0]
    if room in ROOMS:
        return len(ROOMS) - ROOMS.index(room)
    if room in GROUND or room == "__version__":
        return 0
    return len(ROOMS) + 1  # the front door, which opens on every room


def arrows_up(source: str, module: str, *, is_package: bool = False) -> list[str]:
    own = height(module)
    assert own is not None
    return [
        f"{module} imports {name}"
        for name in sorted(imported(source, module, is_package=is_package))
        if (height(name) or 0) > own
    ]


def modules(package: Path):
    found = []
    for file in sorted(package.rglob("*.py")):
        relative = file.relative_to(package.parent)
        is_package = file.name == "__init__.py"
        dotted = ".".join((relative.parent if is_package else relative.with_suffix("")).parts)
        found.append(pytest.param(file, dotted, is_package, id=dotted))
    return found


@pytest.mark.parametrize(("file", "module", "is_package"), modules(LIBRARY))
def test_no_arrow_points_up(file, module, is_package):
    source = file.read_text("utf-8")
    assert arrows_up(source, module, is_package=is_package) == []
    names = imported(source, module, is_package=is_package)
    assert [name for name in names if name.startswith("fin_qlora_hub")] == []


@pytest.mark.parametrize(("file", "module", "is_package"), modules(HUB))
def test_the_hub_stands_alone(file, module, is_package):
    names = imported(file.read_text("utf-8"), module, is_package=is_package)
    tops = {name.partition(".")[0] for name in names}
    assert tops & {"fin_qlora", "torch", "transformers", "peft", "trl", "huggingface_hub"} == set()


def test_every_room_is_known():
    folders = {file.parent.name for file in LIBRARY.glob("*/__init__.py")}
    assert folders <= set(ROOMS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fin_qlora.tasks.task", "from ..training import trainer"),
        ("fin_qlora.tasks.task", "from fin_qlora.training.trainer import FinSFTTrainer"),
        ("fin_qlora.tasks.task", "import fin_qlora.cli"),
        ("fin_qlora.tasks.task", "def later():\n    from fin_qlora import load_adapter"),
        ("fin_qlora.errors", "from . import prompts"),
    ],
)
def test_an_arrow_that_points_up_is_found(module, source):
    assert len(arrows_up(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "fin_qlora.training.trainer",
            "from ..tasks import task\nfrom .config import FinSFTConfig",
        ),
        ("fin_qlora.tasks.task", "from .. import errors\nfrom ..errors import DataError"),
        ("fin_qlora.tasks.task", "import json\nfrom collections.abc import Iterable"),
        ("fin_qlora.publishing.push", "from fin_qlora import __version__"),
    ],
)
def test_an_arrow_that_points_down_is_left_alone(module, source):
    assert arrows_up(source, module) == []
