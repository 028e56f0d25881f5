"""Ctrl-C ends a demonstration with 130 and stops all that it had started."""

import os
import signal
import subprocess
import sys

import psutil


def test_ctrl_c_in_the_middle_of_a_demo(tmp_path):
    command = [sys.executable, "-m", "fin_qlora.cli", "demo", "--directory", str(tmp_path / "d")]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ
    ) as process:
        said = []
        started: list[psutil.Process] = []
        for line in process.stderr or ():
            said.append(line)
            if line.startswith("· train:"):
                started = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(signal.SIGINT)
        code = process.wait()
    assert code == 130, "".join(said)[-2000:]
    assert len(started) >= 3, "the hub, the launcher and the recipe"
    assert not [child for child in started if child.is_running()]
    assert not (tmp_path / "d" / "summary.json").exists()
    # no adapter, whole or half; there may be a checkpoint
    assert not [path for path in tmp_path.rglob("*adapter*") if path.is_dir()]
