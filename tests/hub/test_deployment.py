"""The examples in hub/deploy are understood by the programs that read them and do what they say."""

import datetime
import json
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from waiting import wait_until

from fin_qlora_hub.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "hub" / "deploy"
WEIGHTS = random.Random(71).randbytes(3_000_000)
ROUND = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("alice/a", exist_ok=True)
api.upload_file(path_or_fileobj=sys.argv[1], path_in_repo=sys.argv[2], repo_id="alice/a")
print(api.hf_hub_download("alice/a", sys.argv[2], force_download=True))
"""


def program(name: str) -> str:
    """Find a program on this machine, or where .ci/run has put it."""
    places = [os.environ["PATH"], "/usr/sbin", "/sbin", str(ROOT / ".cache/nginx/usr/sbin")]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"there is no {name} (Debian, Ubuntu: the package {name.partition('-')[0]})")
    return found


def variables(text: str) -> set[str]:
    words = text.replace("=", " ").replace(":", " ").split()
    return {word for word in words if word.startswith("FIN_QLORA_HUB_") and word.isupper()}


def test_what_is_set_there_can_be_set() -> None:
    known = {f"FIN_QLORA_HUB_{name.upper()}" for name in Settings.model_fields}
    found = {path.name: variables(path.read_text("utf-8")) for path in DEPLOY.iterdir()}
    assert found["compose.yaml"] >= {"FIN_QLORA_HUB_DATABASE_URL", "FIN_QLORA_HUB_STORAGE_URL"}
    for name, used in found.items():
        assert used - {"FIN_QLORA_HUB_..."} <= known, name


def test_the_compose_file_says_what_the_hub_takes() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    services = compose["services"]
    assert set(services) == {"hub", "tables", "database", "store", "bucket"}
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose["volumes"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
    given = {
        name.removeprefix("FIN_QLORA_HUB_").lower(): re.sub(r"\$\{\w+:\?\}", "p", value)
        for name, value in services["hub"]["environment"].items()
        if ":-" not in value
    }
    settings = Settings(**given)
    assert settings.storage_url == "s3://hub/contents"
    # every ${NAME:?} that must be given is in the example
    example = (DEPLOY / "environment.example").read_text("utf-8")
    for name in ("DATABASE_PASSWORD", "STORE_SECRET_KEY"):
        assert f"{name}=\n" in example
        assert f"${{{name}:?}}" in (DEPLOY / "compose.yaml").read_text("utf-8")


def test_docker_reads_the_compose_file() -> None:
    docker = program("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose")
    environment = {**os.environ, "DATABASE_PASSWORD": "a", "STORE_SECRET_KEY": "b"}
    line = [docker, "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--format", "json"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    hub = json.loads(done.stdout)["services"]["hub"]
    assert (Path(hub["build"]["context"]) / hub["build"]["dockerfile"]).is_file()


def test_the_container_is_built_from_what_is_there() -> None:
    lines = (DEPLOY / "Containerfile").read_text("utf-8").splitlines()
    copied = [
        line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line
    ]
    let_through = (DEPLOY / "Containerfile.dockerignore").read_text("utf-8").splitlines()
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in let_through
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER hub"]


def test_systemd_understands_the_unit(tmp_path) -> None:
    analyze = program("systemd-analyze")
    unit = tmp_path / "fin-qlora-hub.service"
    text = (DEPLOY / unit.name).read_text("utf-8")
    # the program has to be there to be verified
    unit.write_text(text.replace("/opt/fin-qlora-hub/bin/fin-qlora-hub", "/bin/true"))
    verified = subprocess.run(
        [analyze, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    about = [line for line in verified.stderr.splitlines() if unit.name in line]
    assert (verified.returncode, about) == (0, []), verified.stderr
    rated = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-300:]  # 2.0 of 10 at most


def certificate(folder: Path) -> None:
    """Write a certificate of nginx's own for loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "hub.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "hub.key").write_bytes(key.private_bytes(pem, pkcs8, plain))


@pytest.fixture
def nginx(tmp_path):
    """Prepare the example for loopback: `line, log = nginx(hub=8420, front=8443, ...)`."""
    found = program("nginx")
    certificate(tmp_path)

    def prepare(*, hub: int, store: int, front: int, store_front: int) -> tuple[list[str], Path]:
        text = (DEPLOY / "nginx.conf").read_text("utf-8")
        first, second = text.split("    server_name store.example.internal;")
        first = first[::-1].replace("listen 443 ssl;"[::-1], "listen TWO ssl;"[::-1], 1)[::-1]
        text = first.replace("listen 443", f"listen 127.0.0.1:{front}")
        text = text.replace("listen TWO", f"listen 127.0.0.1:{store_front}")
        text += "    server_name localhost;" + second
        for old, new in {
            "127.0.0.1:8420": f"127.0.0.1:{hub}",
            "127.0.0.1:7070": f"127.0.0.1:{store}",
            "/etc/nginx/tls": str(tmp_path),
            "/var/log/nginx": str(tmp_path),
        }.items():
            assert old in text
            text = text.replace(old, new)
        bodies = tmp_path / "bodies"
        bodies.mkdir()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {bodies}/{kind};\n" for kind in kinds)
        whole = tmp_path / "whole.conf"
        whole.write_text(
            f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;\n"
            f"events {{}}\nhttp {{\n{folders}{text}}}\n"
        )
        return [found, "-p", str(tmp_path), "-c", str(whole)], tmp_path / "fin-qlora-hub.log"

    return prepare


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_clients_reach_the_hub_and_its_store_through_nginx(
    nginx, start_hub, swift, tmp_path, run_python
) -> None:
    front, store_front = free_port(), free_port()
    outside, store_outside = (f"https://localhost:{port}" for port in (front, store_front))
    options = {
        **swift.settings(swift.new_bucket()),
        "s3_public_endpoint": store_outside,
        "public_url": outside,
        "trusted_proxies": "127.0.0.1",
    }
    with start_hub(tmp_path / "data", **options) as hub:
        port = int(hub.url.rpartition(":")[2])
        line, log = nginx(hub=port, store=swift.port, front=front, store_front=store_front)
        tested = subprocess.run([*line, "-t"], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        trusted = ssl.create_default_context(cafile=str(tmp_path / "hub.crt"))
        with (
            httpx.Client(verify=trusted, timeout=20) as trust,
            subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process,
        ):
            try:

                def answers() -> bool:
                    try:
                        return trust.get(f"{outside}/healthz").status_code == 200
                    except httpx.TransportError:
                        return False

                assert wait_until(answers), process.stderr
                (tmp_path / "w").write_bytes(WEIGHTS)
                for number, off in enumerate(("1", "0")):
                    environment = {
                        **hub.environment(tmp_path / off),
                        "HF_ENDPOINT": outside,
                        "HF_HUB_DISABLE_XET": off,
                        "SSL_CERT_FILE": str(tmp_path / "hub.crt"),
                        "REQUESTS_CA_BUNDLE": str(tmp_path / "hub.crt"),
                    }
                    name = f"w{number}.bin"
                    done = run_python("-c", ROUND, str(tmp_path / "w"), name, env=environment)
                    assert done.returncode == 0, done.stderr
                    assert Path(done.stdout.strip()).read_bytes() == WEIGHTS
                assert trust.delete(f"{store_outside}/hub-0/x").status_code == 403  # of nginx
                written = log.read_text("utf-8")
                assert "/resolve/" in written
                for file in tmp_path.glob("fin-qlora-hub*.log"):
                    assert "X-Amz" not in file.read_text("utf-8")
                    assert "?" not in file.read_text("utf-8")
            finally:
                process.terminate()
