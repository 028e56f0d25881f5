"""A build on Ray gives the bytes that a build in processes gives."""

import importlib.util
import ipaddress
import os
import sys

import psutil
import pytest

from fin_qlora.errors import (
    DataError,
    EnvironmentFault,
    MissingDependencyError,
    UnknownNameError,
    UsageError,
)
from fin_qlora.xbrl import build, ray_runner

FILES = ("report.json", "test.jsonl", "train.jsonl", "validation.jsonl")


@pytest.fixture(scope="module")
def ray_is_here():
    # not importorskip: the build must be what loads Ray, so that it stays on the loopback address
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")


@pytest.fixture(scope="module")
def cluster(ray_is_here):
    with ray_runner.connected(2, None) as ray:
        yield ray


def strict(place: str) -> str:
    if place == "bad":
        os._exit(9)
    if place == "wrong":
        raise DataError("The place is wrong.", fix="Name another one.")
    return place.upper()


def on_ray(jobs, *folders):
    return dict(ray_runner.run_on_ray(strict, jobs, workers=2, address=None, folders=folders))


@pytest.mark.usefixtures("ray_is_here")
def test_ray_and_processes_give_the_same_bytes(filings, tmp_path):
    moves = []
    for runner in ("processes", "ray"):
        report = build(
            filings,
            tmp_path / runner,
            workers=2,
            runner=runner,
            progress=lambda done, total: moves.append((done, total)),
        )
        assert report.filings == 6
    assert moves == 2 * [(number, 6) for number in range(1, 7)]
    for name in FILES:
        assert (tmp_path / "ray" / name).read_bytes() == (
            tmp_path / "processes" / name
        ).read_bytes()
    assert not sys.modules["ray"].is_initialized()


@pytest.mark.usefixtures("ray_is_here")
def test_a_cluster_that_does_not_answer_is_named(filings, tmp_path):
    with pytest.raises(EnvironmentFault, match=r"No Ray cluster answers at 127\.0\.0\.1:9"):
        build(filings, tmp_path / "out", runner="ray", ray_address="127.0.0.1:9")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_dies_takes_its_part_with_it_and_no_other():
    jobs = ["a", "b", "bad", "c", "d", "e", "f"]
    assert on_ray(jobs) == {job: None if job == "bad" else job.upper() for job in jobs}


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_worker_is_the_error_of_the_build():
    with pytest.raises(DataError) as raised:
        on_ray(["a", "wrong", "b"])
    assert str(raised.value) == "The place is wrong. Name another one."


@pytest.mark.usefixtures("cluster")
def test_a_folder_that_a_worker_does_not_see_is_named(tmp_path):
    with pytest.raises(EnvironmentFault, match=r"does not see the folder '.*nowhere'"):
        on_ray(["a"], tmp_path, tmp_path / "nowhere")


@pytest.mark.usefixtures("cluster")
def test_the_cluster_of_a_build_listens_on_this_machine_alone():
    on_ray(["a", "b"])
    addresses = {
        ipaddress.ip_address(connection.laddr.ip.removeprefix("::ffff:"))
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses
    assert [str(address) for address in addresses if not address.is_loopback] == []


@pytest.mark.parametrize(
    ("runner", "address", "error", "says"),
    [
        ("ray", "host", UsageError, "HOST:PORT"),
        ("ray", "ray://host:10001", UsageError, "HOST:PORT"),
        ("processes", "127.0.0.1:6379", UsageError, "not the runner 'ray'"),
        ("rya", None, UnknownNameError, "Did you mean 'ray'"),
    ],
)
def test_a_runner_that_cannot_be_is_refused(filings, tmp_path, runner, address, error, says):
    with pytest.raises(error, match=says):
        build(filings, tmp_path / "out", runner=runner, ray_address=address)
    assert [path.name for path in tmp_path.iterdir()] == ["filings"]


def test_without_ray_it_says_what_to_install(filings, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_runner.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"fin-qlora\[ray\]"):
        build(filings, tmp_path / "out", runner="ray")
    assert [path.name for path in tmp_path.iterdir()] == ["filings"]
