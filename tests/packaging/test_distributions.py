"""Each way to install the two packages gives all their data files, and none that is stale.

Built without isolation and installed without dependencies: a throw-away environment borrows those
of the environment that runs the tests, so nothing is fetched.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {"recipes": ".yaml", "ds_configs": ".json", "schemas": ".json"}
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", "dist", "build", "*.egg-info")
PROBE = """
import importlib.metadata, importlib.resources, json, pathlib
import fin_qlora, fin_qlora_hub
from fin_qlora import files
from fin_qlora.models.tiny import tiny_base_path

tree = lambda folder: sorted(
    path.relative_to(folder).as_posix() for path in pathlib.Path(folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)
hub = pathlib.Path(fin_qlora_hub.__file__).parent
print(json.dumps({
    "shipped": {kind: tree(files.shipped(kind)) for kind in ("recipes", "ds_configs", "schemas")},
    "places": {kind: str(files.shipped(kind)) for kind in ("recipes", "ds_configs", "schemas")},
    "tiny": tree(tiny_base_path()),
    "migrations": [name for name in tree(hub / "migrations")],
    "hub_shipped": tree(hub / "_shipped"),
    "versions": [
        [fin_qlora.__version__, importlib.metadata.version("fin-qlora")],
        [fin_qlora_hub.__version__, importlib.metadata.version("fin-qlora-hub")],
    ],
    "code": [str(pathlib.Path(fin_qlora.__file__)), str(hub)],
}))
"""


def run(*command, folder):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def names(folder, suffix=""):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob(f"*{suffix}")
        if path.is_file() and "__pycache__" not in path.parts
    )


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a clone holds, which a test may change."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for file in ROOT.glob("*.*"):
        if file.is_file():
            shutil.copy(file, copy)
    shutil.copy(ROOT / "LICENSE", copy)
    shutil.copy(ROOT / ".gitignore", copy)
    for folder in ("src", "hub", *SUFFIXES):
        shutil.copytree(ROOT / folder, copy / folder, ignore=NOT_SOURCE)
    return copy


@pytest.fixture
def throw_away(tmp_path):
    """An empty environment that sees the libraries of this one; returns its interpreter."""
    place = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", place, folder=tmp_path)
    python = place / "bin" / "python"
    inside = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=tmp_path
    )
    borrowed = Path(inside.strip()) / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return python


def build(project, target, into):
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        f"--{target}",
        "-o",
        into,
        ".",
        folder=project,
    )
    pattern = "*.whl" if target == "wheel" else "*.tar.gz"
    (built,) = into.glob(pattern)
    return built


def install(python, *what, folder):
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
        "--no-index", "--no-build-isolation", *what, folder=folder,
    )  # fmt: skip


def probe(python, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    run(python.with_name("fin-qlora"), "--help", folder=elsewhere)
    run(python.with_name("fin-qlora-hub"), "--help", folder=elsewhere)
    return json.loads(run(python, "-c", PROBE, folder=elsewhere))


def assert_complete(found, *, from_wheel):
    for kind, suffix in SUFFIXES.items():
        shipped = [name for name in found["shipped"][kind] if not name.endswith(".md")]
        assert shipped == names(ROOT / kind, suffix), kind
    assert found["tiny"] == names(ROOT / "src" / "fin_qlora" / "models" / "tiny" / "files")
    assert found["migrations"] == names(ROOT / "hub" / "src" / "fin_qlora_hub" / "migrations")
    assert any(name.startswith("versions/") for name in found["migrations"])
    schemas = [f"schemas/{name}" for name in names(ROOT / "schemas", ".json")]
    assert found["hub_shipped"] == (schemas if from_wheel else [])
    for declared, installed in found["versions"]:
        assert declared == installed


@pytest.mark.parametrize("route", ["wheel", "wheel from sdist"])
def test_a_wheel_holds_all_its_data(route, checkout, throw_away, tmp_path):
    wheels = []
    for project in (checkout, checkout / "hub"):
        out = tmp_path / "out" / project.name
        if route == "wheel from sdist":
            sdist = build(project, "sdist", out)
            with tarfile.open(sdist) as archive:
                archive.extractall(tmp_path / "unpacked", filter="data")
            project = tmp_path / "unpacked" / sdist.name.removesuffix(".tar.gz")
        wheels.append(build(project, "wheel", out))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            listed = archive.namelist()
        assert len(listed) == len(set(listed))
        assert any(name.endswith("licenses/LICENSE") for name in listed)
        assert any(name.endswith("/py.typed") for name in listed)
    install(throw_away, *wheels, folder=tmp_path)
    # what is installed must not lean on the folder that it was built in
    shutil.rmtree(checkout)
    shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)
    found = probe(throw_away, tmp_path)
    assert_complete(found, from_wheel=True)
    assert all(place.startswith(str(throw_away.parents[1])) for place in found["code"])


def test_an_editable_install_reads_the_checkout_and_is_never_stale(checkout, throw_away, tmp_path):
    install(throw_away, "-e", checkout / "hub", "-e", checkout, folder=tmp_path)
    found = probe(throw_away, tmp_path)
    assert_complete(found, from_wheel=False)
    assert found["places"] == {kind: str(checkout / kind) for kind in SUFFIXES}

    added = checkout / "recipes" / "added_after_installing.yaml"
    added.write_text("learning_rate: 1.0e-4\n", "utf-8")
    (checkout / "recipes" / "accelerate" / "single.yaml").unlink()
    listed = probe(throw_away, tmp_path)["shipped"]["recipes"]
    assert added.name in listed
    assert "accelerate/single.yaml" not in listed


def test_a_checkout_without_its_data_is_not_built(checkout, tmp_path):
    shutil.rmtree(checkout / "schemas")
    for project in (checkout, checkout / "hub"):
        result = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", str(tmp_path), "."],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode != 0
        assert "holds no .json file to ship" in result.stdout + result.stderr


def test_both_packages_carry_the_same_licence_and_version(checkout):
    assert (checkout / "LICENSE").read_text("utf-8") == (checkout / "hub" / "LICENSE").read_text(
        "utf-8"
    )
    import fin_qlora
    import fin_qlora_hub

    assert fin_qlora.__version__ == fin_qlora_hub.__version__
