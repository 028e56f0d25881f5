"""Routes know HTTP and no SQL, the rest knows no HTTP, and nothing knows the library."""

import ast
import os
from pathlib import Path

import pytest

import fin_qlora_hub

PACKAGE = Path(fin_qlora_hub.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HTTP = {"fastapi", "starlette", "uvicorn"}
SQL = {"sqlalchemy", "alembic"}
MEETING_HTTP = {"app.py", "serving.py"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


# Imports point down: from a room to itself and to those after it.
FLOORS = (
    *("__main__", "cli", "commands", "serving", "app", "routes", "care", "signing_in", "webhooks"),
    *("hub", "mirrors", "outgoing", "sharing", "repositories", "cards", "git", "contents", "xet"),
    *(
        "stores",
        "gitobjects",
        "access",
        "audit",
        "metadata",
        "periodic",
        "text",
        "settings",
        "errors",
    ),
)


def rooms_of(path: Path) -> set[str]:
    """Return the rooms whose modules a module imports, at its top or inside."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "fin_qlora_hub":
            names |= {alias.name for alias in node.names if not alias.name.startswith("_")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fin_qlora_hub."):
            names.add(node.module.split(".")[1])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in ("__init__", "migrations"):
        assert rooms_of(path) - {"migrations"} <= set(FLOORS[FLOORS.index(room) :])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path: Path) -> None:
    names = imported(path)
    assert "fin_qlora" not in names
    assert "torch" not in names
    if PACKAGE / "routes" in path.parents:
        assert not names & SQL
    elif path.name not in MEETING_HTTP:
        assert not names & HTTP


def test_the_hub_needs_no_torch(run_python) -> None:
    code = "import sys, fin_qlora_hub.app; print('torch' in sys.modules)"
    assert run_python("-c", code, env=dict(os.environ)).stdout == "False\n"
