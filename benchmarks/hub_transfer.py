"""Large files to and from the hub: by Xet, by Git LFS, beside nginx, and many at once."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import shutil
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from hub_bench import SEED, Bench, work
from hub_commit_memory import MIB, Watch, server
from report import Row

FILE_BYTES, QUICK_FILE_BYTES = 200_000_000, 20_000_000
UPLOADS, QUICK_UPLOADS = 64, 8
UPLOAD_BYTES = 48_000_000
CHUNK_BYTES = 64 * 1024
EDIT_LIMIT = 0.001
MEMORY_LIMIT_BYTES = 600_000_000

UP = """
import sys, time
from huggingface_hub import HfApi
api = HfApi()
api.whoami()
start = time.perf_counter()
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="w.safetensors", repo_id=sys.argv[1])
print(time.perf_counter() - start)
"""
DOWN = """
import sys, time
from huggingface_hub import HfApi
api = HfApi()
api.whoami()
start = time.perf_counter()
path = api.hf_hub_download(sys.argv[1], "w.safetensors")
print(time.perf_counter() - start)
assert open(path, "rb").read() == open(sys.argv[2], "rb").read()
"""
# What the stock client asks of a hub to fetch one file, and nothing more.
NGINX = """
master_process off;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location = /api/whoami-v2 {{
            default_type application/json;
            return 200 '{{"type": "user", "name": "bench", "fullname": "bench", "orgs": []}}';
        }}
        location ~ ^/bench/[^/]+/resolve/main/w.safetensors$ {{
            alias {file};
            default_type application/octet-stream;
            etag off;
            add_header ETag '"{sha256}"';
            add_header X-Repo-Commit {commit};
            add_header X-Linked-Etag '"{sha256}"';
            add_header X-Linked-Size {size};
        }}
    }}
}}
"""


def new_file(path: Path, generator: random.Random, *, size: int) -> Path:
    """Write random bytes."""
    path.write_bytes(generator.randbytes(size))
    return path


@contextmanager
def nginx(folder: Path, file: Path) -> Iterator[str]:
    """Let nginx serve a file as the only one of any repository of `bench`; give its URL."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    configuration = folder / "nginx.conf"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    facts = {"sha256": sha256, "commit": "c" * 40, "size": file.stat().st_size}
    configuration.write_text(NGINX.format(folder=folder, port=port, file=file, **facts))
    words = ["nginx", "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    with subprocess.Popen(words) as process:
        try:
            end = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    if time.monotonic() > end or process.poll() is not None:
                        raise SystemExit("nginx does not start") from None
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
    shutil.rmtree(folder)


def measure_transfer(folder: Path, *, quick: bool) -> tuple[list[Row], dict[str, float]]:
    """Time uploads and downloads of both kinds, and downloads from nginx, in turns."""
    from huggingface_hub import HfApi

    runs, size = (1, QUICK_FILE_BYTES) if quick else (7, FILE_BYTES)
    bench, generator = Bench(folder), random.Random(SEED)
    seconds: dict[tuple[str, str], list[float]] = {}
    spent: dict[tuple[str, str], list[float]] = {}
    has_nginx = shutil.which("nginx") is not None
    with server(bench.data_dir) as (process, url):
        api = HfApi(endpoint=url, token=bench.token)

        def time_it(side: str, figure: str, name: str, file: Path, place: str) -> None:
            program, before = UP if figure == "upload" else DOWN, work(process)
            taken = bench.client(program, name, file, url=place, xet=side == "Xet")
            seconds.setdefault((side, figure), []).append(taken)
            if place == url:
                spent.setdefault((side, figure), []).append(work(process) - before)

        for run in range(runs):
            for side in ("Xet", "LFS"):
                name = f"bench/{side.lower()}-{run}"
                api.create_repo(name)
                file = new_file(folder / "w", generator, size=size)
                time_it(side, "upload", name, file, url)
                time_it(side, "download", name, file, url)
            with nginx(folder / "nginx", file) if has_nginx else nullcontext() as place:
                if place is not None:
                    time_it("nginx", "download", name, file, place)
    rows = []
    for (side, figure), values in seconds.items():
        speed = size / statistics.median(values) / 1e6
        rows.append(Row(side, f"{figure} of {size // 10**6} MB, median of {runs}", "MB/s", speed))
        rows.append(Row(side, f"{figure}, quickest", "MB/s", size / min(values) / 1e6))
        rows.append(Row(side, f"{figure}, slowest", "MB/s", size / max(values) / 1e6))
    for (side, figure), values in spent.items():
        rows.append(Row(side, f"the server's work for an {figure}", "s", statistics.median(values)))
    ratios = {
        f"{figure} by Xet to LFS (speed)": statistics.median(seconds["LFS", figure])
        / statistics.median(seconds["Xet", figure])
        for figure in ("upload", "download")
    }
    if has_nginx:
        nginx_seconds = statistics.median(seconds["nginx", "download"])
        ratio = nginx_seconds / statistics.median(seconds["LFS", "download"])
        ratios["plain download to nginx (speed)"] = ratio
    else:
        rows.append(Row("nginx", "download: nginx is not installed", "MB/s", None))
    return rows, ratios


@contextmanager
def counting_proxy(url: str) -> Iterator[tuple[str, list[int]]]:
    """Stand between client and server and count what the client sends, in bytes."""
    target = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    sent = [0]

    def copy(source: socket.socket, sink: socket.socket, *, count: bool) -> None:
        try:
            while data := source.recv(MIB):
                if count:
                    sent[0] += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(target)
            for pair, count in (((client, upstream), True), ((upstream, client), False)):
                threading.Thread(
                    target=copy, args=pair, kwargs={"count": count}, daemon=True
                ).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent


def measure_edit(folder: Path, *, quick: bool) -> tuple[list[Row], dict[str, float]]:
    """Count what later versions of a file cost, each from a client that knows nothing."""
    from huggingface_hub import HfApi

    runs, size = (1, QUICK_FILE_BYTES) if quick else (3, FILE_BYTES)
    bench, generator = Bench(folder), random.Random(SEED + 1)
    kinds: dict[str, tuple[list[float], list[float]]] = {
        "37 bytes inserted": ([], []),
        "10 bytes changed": ([], []),
    }
    early, late = size // 4, 3 * size // 4
    with server(bench.data_dir) as (_, url), counting_proxy(url) as (proxy, sent):
        api = HfApi(endpoint=url, token=bench.token)
        for run in range(runs):
            name = f"bench/edit-{run}"
            api.create_repo(name)
            file = new_file(folder / "w", generator, size=size)
            bench.client(UP, name, file, url=url, xet=True)
            data = bytearray(file.read_bytes())
            for kind, (shares, times) in kinds.items():
                if kind == "37 bytes inserted":
                    data[early:early] = b"thirty-seven bytes are inserted here."
                else:
                    data[late : late + 10] = b"ten bytes."
                file.write_bytes(data)
                before = sent[0]
                times.append(bench.client(UP, name, file, url=proxy, xet=True))
                shares.append((sent[0] - before) / len(data))
            bench.client(DOWN, name, file, url=url, xet=True)
    rows, ratios = [], {}
    for kind, (shares, times) in kinds.items():
        middle = statistics.median(shares)
        rows += [
            Row("Xet", f"bytes sent, {kind}, median of {runs}", "%", middle * 100),
            Row("Xet", f"bytes sent, {kind}, most", "%", max(shares) * 100),
            Row("Xet", f"upload, {kind}, median", "s", statistics.median(times)),
        ]
        ratios[f"bytes sent with {kind} to the limit of 0.1 %"] = max(shares) / EDIT_LIMIT
    return rows, ratios


def xorb_bodies(generator: random.Random) -> Iterator[tuple[str, list[bytes]]]:
    """Yield names and bodies of xorbs that differ in their first chunk alone."""
    from fin_qlora_hub.xet import hashes

    def packed(chunk: bytes) -> bytes:
        size = len(chunk).to_bytes(3, "little")
        return b"\0" + size + b"\0" + size + chunk

    chunks = [generator.randbytes(CHUNK_BYTES) for _ in range(UPLOAD_BYTES // CHUNK_BYTES)]
    nodes = [(hashes.chunk_hash(chunk), len(chunk)) for chunk in chunks]
    rest = b"".join(map(packed, chunks[1:]))
    while True:
        first = generator.randbytes(CHUNK_BYTES)
        root = hashes.merkle_root([(hashes.chunk_hash(first), len(first)), *nodes[1:]])
        yield hashes.to_text(root), [packed(first), rest]


def measure_memory(folder: Path, *, quick: bool) -> tuple[list[Row], dict[str, float]]:
    """Send 64 xorbs of 48 MB at once."""
    from huggingface_hub import HfApi

    runs, uploads = (1, QUICK_UPLOADS) if quick else (2, UPLOADS)
    bench, generator = Bench(folder), random.Random(SEED + 2)
    bodies = xorb_bodies(generator)
    rows, peaks = [], []
    with server(bench.data_dir) as (process, url):
        HfApi(endpoint=url, token=bench.token).create_repo("bench/memory")
        headers = {"Authorization": f"Bearer {bench.token}"}
        request = urllib.request.Request(
            f"{url}/api/models/bench/memory/xet-write-token/main", headers=headers
        )
        with urllib.request.urlopen(request) as answer:
            given = json.load(answer)
        cas = urlsplit(given["casUrl"])

        def send(wanted: tuple[str, list[bytes]]) -> int:
            name, parts = wanted
            for _ in range(60):  # the server may ask to come again
                connection = http.client.HTTPConnection(cas.netloc, timeout=300)
                try:
                    connection.request(
                        "POST",
                        f"{cas.path}/v1/xorbs/default/{name}",
                        body=iter(parts),
                        headers={
                            "Authorization": f"Bearer {given['accessToken']}",
                            "Content-Length": str(sum(map(len, parts))),
                        },
                    )
                    status = connection.getresponse().status
                    if status == 200:
                        return status
                except OSError:
                    pass
                finally:
                    connection.close()
                time.sleep(1)
            raise SystemExit(f"the server did not take the xorb {name}")

        for _ in range(runs):
            wanted = [next(bodies) for _ in range(uploads)]
            with Watch(process) as watch, ThreadPoolExecutor(uploads) as pool:
                start = time.perf_counter()
                list(pool.map(send, wanted))
                seconds = time.perf_counter() - start
            peaks.append(watch.peak)
        rows.append(Row("server", "memory before", "MB", watch.before / 1e6))
        rows.append(Row("server", f"memory under {uploads} uploads, most", "MB", max(peaks) / 1e6))
        speed = uploads * UPLOAD_BYTES / seconds / 1e6
        rows.append(Row("server", f"{uploads} uploads at once, together", "MB/s", speed))
    return rows, {f"memory under {uploads} uploads to the limit": max(peaks) / MEMORY_LIMIT_BYTES}
