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
