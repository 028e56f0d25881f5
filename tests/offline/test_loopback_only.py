"""The guard of conftest.py bites, in this process and in the ones that a test starts."""

import socket
import subprocess
import sys
import threading

import pytest

# TEST-NET-1 and a reserved top-level domain: nobody can be there
ELSEWHERE = "192.0.2.1"
NAME_ELSEWHERE = "hub.invalid"


def dial_address() -> None:
    with socket.socket() as connection:
        connection.settimeout(1)
        connection.connect((ELSEWHERE, 443))


def dial_address_without_error() -> None:
    with socket.socket() as connection:
        connection.settimeout(1)
        connection.connect_ex((ELSEWHERE, 443))


def dial_name() -> None:
    socket.create_connection((NAME_ELSEWHERE, 443), timeout=1)


def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"x", (ELSEWHERE, 53))


@pytest.mark.parametrize(
    "dial", [dial_address, dial_address_without_error, dial_name, send_datagram]
)
def test_leaving_this_machine_is_refused_and_recorded(dial, dials):
    with pytest.raises(OSError, match="not this machine"):
        dial()
    (attempt,) = dials.attempts()
    assert ELSEWHERE in attempt or NAME_ELSEWHERE in attempt
    dials.forget()


def test_a_child_process_is_guarded_even_when_it_swallows_the_error(dials):
    program = (
        "import contextlib, urllib.request\n"
        "with contextlib.suppress(Exception):\n"
        f"    urllib.request.build_opener(urllib.request.ProxyHandler({{}}))"
        f".open('http://{NAME_ELSEWHERE}/')\n"
    )
    child = subprocess.run([sys.executable, "-c", program], check=False)
    assert child.returncode == 0
    (attempt,) = dials.attempts()
    assert NAME_ELSEWHERE in attempt
    dials.forget()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_loopback_is_free(name):
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].close())
        answer.start()
        with socket.create_connection((name, server.getsockname()[1]), timeout=5) as connection:
            assert connection.recv(1) == b""
        answer.join()
