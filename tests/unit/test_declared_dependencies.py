"""What the two packages import is what they declare: nothing comes by luck with something else."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "fin_qlora": (ROOT / "pyproject.toml", ROOT / "src" / "fin_qlora"),
    "fin_qlora_hub": (ROOT / "hub" / "pyproject.toml", ROOT / "hub" / "src" / "fin_qlora_hub"),
}


#: Extras that development does not install, for one wants an older package than the rest and the
#: other is large: import name -> distribution.
NOT_INSTALLED = {"arelle": "arelle-release", "ray": "ray"}

#: Imported only inside a program that loads a plugin of ours, and that wants other versions of
#: torch and transformers than the rest of the package: it cannot be an extra.
HOSTS = {"vllm"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(project: Path, *, extras: bool) -> set[str]:
    table = tomllib.loads(project.read_text("utf-8"))["project"]
    requirements = list(table["dependencies"])
    if extras:
        for extra in table.get("optional-dependencies", {}).values():
            requirements += extra
    return {normal(re.split(r"[\s\[<>=!~;]", requirement)[0]) for requirement in requirements}


def third_party(package: Path) -> set[str]:
    tops: set[str] = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                tops.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                tops.add(node.module.partition(".")[0])
    return tops - set(sys.stdlib_module_names) - {"fin_qlora", "fin_qlora_hub"}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_import_is_declared(name):
    project, package = PACKAGES[name]
    providers = packages_distributions()
    known = declared(project, extras=True)
    missing = {
        top
        for top in third_party(package) - HOSTS
        if not {normal(p) for p in providers.get(top, [NOT_INSTALLED.get(top, top)])} & known
    }
    assert missing == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_every_declared_dependency_is_used(name):
    project, package = PACKAGES[name]
    providers = packages_distributions()
    used = {
        normal(provider) for top in third_party(package) for provider in providers.get(top, [top])
    }
    # accelerate is a command that recipes are launched with; uvicorn is told of the others by name
    by_name = {"accelerate", "httptools", "uvloop"}
    assert declared(project, extras=False) - used - by_name == set()


def test_the_packages_pin_nothing_exactly_and_the_constraints_pin_everything():
    pins = [
        line
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    pinned = {normal(pin.partition("==")[0]) for pin in pins}
    for project, _ in PACKAGES.values():
        assert "==" not in project.read_text("utf-8").split("[tool.")[0]
        unpinned = {"fin-qlora", "fin-qlora-hub", *NOT_INSTALLED.values()}
        assert declared(project, extras=True) - pinned <= unpinned
