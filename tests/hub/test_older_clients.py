"""Clients of other versions work as they are: by Xet, by Git LFS, and to read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
# What pip says where no index has the package, or none answers.
NO_INDEX = ("No matching distribution", "Could not find a version", "connection", "NewConnection")
CLIENT, XET = "huggingface_hub=={}".format, "hf-xet=={}".format
OLDER = [
    pytest.param((CLIENT("0.36.2"), XET("1.1.10")), id="0.36.2 with xet 1.1.10"),
    pytest.param((CLIENT("1.8.0"), XET("1.4.2")), id="1.8.0 with xet 1.4.2"),
    pytest.param((XET("1.6.0"),), id="newest with xet 1.6.0"),
    pytest.param((XET("1.7.1"),), id="newest with xet 1.7.1"),
]
PROGRAM = """
import json, random, sys
from pathlib import Path
import huggingface_hub
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download

name, folder = sys.argv[1], Path(sys.argv[2])
api = HfApi()
weights = random.Random(name).randbytes(3_000_000)
(folder / "d").mkdir(parents=True)
(folder / "d" / "w.safetensors").write_bytes(weights)
(folder / "README.md").write_text("---\\nlicense: mit\\n---\\nwords\\n")
api.create_repo(name, private=True)
api.create_repo(name, private=True, exist_ok=True)
api.upload_folder(repo_id=name, folder_path=folder)
edited = weights[:1_000_000] + b"edit" + weights[1_000_000:]
(folder / "d" / "w.safetensors").write_bytes(edited)
made = api.upload_file(
    repo_id=name, path_or_fileobj=folder / "d" / "w.safetensors", path_in_repo="d/w.safetensors"
)
api.upload_file(repo_id=name, path_or_fileobj=b"bytes", path_in_repo="b.bin")
api.create_tag(name, tag="v1", revision=made.oid)
request = api.create_commit(
    name, [CommitOperationAdd("new", b"n")], commit_message="a change", create_pr=True
)
api.merge_pull_request(name, request.pr_num, comment="good")
info = api.model_info(name, files_metadata=True)
snapshot = Path(snapshot_download(name, revision="v1"))
alone = Path(hf_hub_download(name, "b.bin"))
assert (snapshot / "d" / "w.safetensors").read_bytes() == edited
assert alone.read_bytes() == b"bytes"
assert not (snapshot / "b.bin").exists()
first = api.list_repo_commits(name)[-2].commit_id
assert Path(hf_hub_download(name, "d/w.safetensors", revision=first)).read_bytes() == weights
try:
    hf_hub_download(name, "absent")
except huggingface_hub.utils.EntryNotFoundError:
    pass
else:
    raise AssertionError("a file that is not there")
print(json.dumps({
    "client": huggingface_hub.__version__,
    "private": info.private,
    "tags": info.tags,
    "files": sorted(s.rfilename for s in info.siblings),
    "lfs": {s.rfilename: s.lfs["size"] for s in info.siblings if s.lfs},
    "listed": [m.id for m in api.list_models(filter="license:mit", search=name)],
    "exists": [api.repo_exists(name), api.repo_exists(name + "-not"), api.file_exists(name, "new")],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory, package_index):
    """Install packages beside the environment, each set once; skip where there is no index."""
    folders: dict[tuple[str, ...], Path] = {}

    def install(packages: tuple[str, ...]) -> Path:
        if packages in folders:
            return folders[packages]
        folder = tmp_path_factory.mktemp("client")
        line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        done = subprocess.run(
            [*line, str(folder), *packages],
            env=package_index,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
            pytest.skip(f"no package index has {' '.join(packages)}: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr
        folders[packages] = folder
        return folder

    return install


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
@pytest.mark.parametrize("packages", OLDER)
def test_an_older_client_sends_and_fetches(
    running, installed, new_name, tmp_path, packages, xet
) -> None:
    environment = running.environment(tmp_path / "home")
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(installed(packages)), os.environ["PYTHONPATH"]]),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "" if xet else "1",
        "TMPDIR": str(tmp_path),
    }
    name = new_name()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(tmp_path / "folder")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    wanted = [p.partition("==")[2] for p in packages if p.startswith("huggingface")]
    assert not wanted or seen["client"] == wanted[0]
    assert seen["private"] is True
    assert "license:mit" in seen["tags"]
    assert seen["files"] == [".gitattributes", "README.md", "b.bin", "d/w.safetensors", "new"]
    assert seen["lfs"] == {"b.bin": 5, "d/w.safetensors": 3_000_004}
    assert seen["listed"] == [name]
    assert seen["exists"] == [True, False, True]
    in_chunks = running.api().get_paths_info(name, ["d/w.safetensors"])[0].xet_hash is not None
    assert in_chunks is xet
