"""The hub sends requests to addresses that it has checked, and to no others."""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fin_qlora_hub import outgoing
from fin_qlora_hub.outgoing import ForbiddenAddressError, Outgoing, OutgoingError
from fin_qlora_hub.settings import Settings

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]


@pytest.fixture
def server() -> Iterator[Callable[..., str]]:
    """Start a server that answers every connection with some bytes, one piece after another."""
    ends: list[Callable[[], None]] = []

    def start(*pieces: bytes, pause: float = 0, received: list[bytes] | None = None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        stopping = threading.Event()

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    data = connection.recv(65536)
                    if received is not None:
                        received.append(data)
                    try:
                        for piece in pieces:
                            connection.sendall(piece)
                            if stopping.wait(pause):
                                return
                    except OSError:
                        pass

        thread = threading.Thread(target=run)
        thread.start()

        def stop() -> None:
            stopping.set()
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(20)
            assert not thread.is_alive()

        ends.append(stop)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for end in ends:
        end()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_an_answer(server) -> None:
    received: list[bytes] = []
    url = server(answer(b"hello"), received=received)
    sent = Outgoing(LOOPBACK).send(url + "/a?b=c", method="POST", body=b"x", headers={"X-A": "1"})
    assert (sent.status, sent.body, sent.headers["content-length"]) == (200, b"hello", "5")
    assert received[0].startswith(b"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-A: 1" in received[0]


def test_redirects_are_answers(server) -> None:
    received: list[bytes] = []
    aim = server(answer(b"aim"), received=received)
    url = server(answer(b"", "302 Found", f"Location: {aim}"))
    assert Outgoing(LOOPBACK).send(url).status == 302
    assert received == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::7f00:1]", "[fe80::1]"),
        *("[fc00::1]", "[fec0::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]"),
        *("198.18.0.1", "192.0.0.192", "192.88.99.1", "[::ffff:169.254.169.254]", "[::127.0.0.1]"),
        *("[fd00:ec2::254]", "[64:ff9b:1::1]", "[2001:0:7f00:1::]", "[2001:db8::1]", "[100::1]"),
    ],
)
def test_addresses_that_are_not_public(address) -> None:
    with pytest.raises(ForbiddenAddressError, match="no public address"):
        Outgoing().check(f"https://{address}/")
    with pytest.raises(ForbiddenAddressError, match="no public address"):
        Outgoing().send(f"https://{address}/")


@pytest.mark.parametrize(
    "url",
    [
        *("", "https://", "ftp://example.com/", "file:///etc/passwd", "//example.com", "https:a"),
        *("https://user@example.com/", "https://u:p@example.com", "https://example.com/#x"),
        *("https://example.com:0/", "https://example.com:99999/", "https://exa mple.com/"),
        *("https://example.com/\r\nX: y", "https://exämple.com/", "https://example.com\\@a.com/"),
        *("https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://127.1/"),
        *("https://0177.0.0.1/", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://a.0x1./"),
        *("https://[fe80::1%25eth0]/", "https://[v1.fe80]/", "https://ex%61mple.com/"),
        "https://example.com/" + "a" * 3000,
    ],
)
def test_addresses_that_are_none(url) -> None:
    with pytest.raises(ForbiddenAddressError):
        Outgoing(LOOPBACK).send(url)


def test_plain_http_only_in_named_networks(server) -> None:
    with pytest.raises(ForbiddenAddressError, match="https"):
        Outgoing().check("http://example.com/")
    with pytest.raises(ForbiddenAddressError, match="https"):
        Outgoing(LOOPBACK).check("http://93.184.216.34/")
    Outgoing().check("https://93.184.216.34/")
    Outgoing(LOOPBACK).check("http://127.0.0.1/")
    Outgoing(LOOPBACK).check("http://[::ffff:127.0.0.1]/")


def test_every_address_of_a_name_is_checked(server, monkeypatch) -> None:
    """One public address does not excuse a private one beside it."""
    received: list[bytes] = []
    port = int(server(answer(b"secret"), received=received).rpartition(":")[2])

    def resolve(host, port, **_):
        places = [("93.184.216.34", port), ("127.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", resolve)
    with pytest.raises(ForbiddenAddressError, match=r"127\.0\.0\.1 is no public address"):
        Outgoing().send(f"https://two.example:{port}/")
    assert received == []


def test_a_name_that_changes_its_mind(server, monkeypatch) -> None:
    """The address that was checked is the one that is asked: the name is looked up once."""
    url = server(answer(b"checked"))
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host, port, **options):
        asked.append(host)
        if len(asked) > 1:
            raise AssertionError("looked up again")
        return real("127.0.0.1", port, **options)

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", resolve)
    sent = Outgoing(LOOPBACK).send(url.replace("127.0.0.1", "rebinding.example"))
    assert sent.body == b"checked"
    assert asked == ["rebinding.example"]


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "fc00::1"]
)
def test_names_that_lead_into_private_networks(monkeypatch, address) -> None:
    place = (address, 443) if "." in address and ":" not in address else (address, 443, 0, 0)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)]
    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ForbiddenAddressError, match="no public address"):
        Outgoing().send("https://inside.example/")


def test_where_clouds_keep_secrets(monkeypatch) -> None:
    """A wide network does not open it: only one that is link-local itself."""
    everything = [ipaddress.ip_network("0.0.0.0/0")]
    with pytest.raises(ForbiddenAddressError):
        Outgoing(everything).check("https://169.254.169.254/")
    Outgoing(everything).check("https://10.0.0.1/")
    Outgoing([ipaddress.ip_network("169.254.0.0/16")]).check("https://169.254.169.254/")


def test_a_name_that_nobody_looks_up_in_time(monkeypatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lambda *_, **__: over.wait(20))
    begun = time.monotonic()
    with pytest.raises(OutgoingError, match="too long"):
        Outgoing().send("https://slow.example/", seconds=0.2)
    assert time.monotonic() - begun < 5
    over.set()


def test_large_answers(server) -> None:
    url = server(answer(b"x" * 1001))
    with pytest.raises(OutgoingError, match="more than 1,000 bytes"):
        Outgoing(LOOPBACK).send(url, max_bytes=1000)
    assert len(Outgoing(LOOPBACK).send(url, max_bytes=1001).body) == 1001


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"]
)
def test_an_answer_that_comes_drop_by_drop(server, start) -> None:
    url = server(start, *[b"a"] * 200, pause=0.05)
    begun = time.monotonic()
    with pytest.raises(OutgoingError, match="too long"):
        Outgoing(LOOPBACK).send(url, seconds=0.5)
    assert time.monotonic() - begun < 5


def test_a_cut_answer(server) -> None:
    url = server(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort")
    with pytest.raises(OutgoingError, match="could not be asked"):
        Outgoing(LOOPBACK).send(url)


def test_an_answer_that_is_not_http(server) -> None:
    with pytest.raises(OutgoingError, match="could not be asked"):
        Outgoing(LOOPBACK).send(server(b"220 smtp ready\r\n"))


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OutgoingError, match="refused"):
        Outgoing(LOOPBACK).send(f"http://127.0.0.1:{port}/")


def test_the_proxy_of_the_surroundings_is_not_used(server, monkeypatch) -> None:
    received: list[bytes] = []
    monkeypatch.setenv("http_proxy", server(answer(b"proxy"), received=received))
    assert Outgoing(LOOPBACK).send(server(answer(b"aim"))).body == b"aim"
    assert received == []


def test_a_certificate_is_checked(tmp_path, certificate) -> None:
    """Of somebody unknown: refused. Of an authority that is trusted: taken, for its name alone."""
    path = certificate("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def run() -> None:
        for _ in range(3):
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65536)
                    secured.sendall(answer(b"secured"))
            except OSError:
                connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    trusting = ssl.create_default_context(cafile=str(path))
    with pytest.raises(OutgoingError, match="certificate verify failed"):
        Outgoing(LOOPBACK).send(f"https://localhost:{port}/")
    with pytest.raises(OutgoingError, match="certificate verify failed"):
        Outgoing(LOOPBACK, tls=trusting).send(f"https://127.0.0.1:{port}/")
    sent = Outgoing(LOOPBACK, tls=trusting).send(f"https://localhost:{port}/")
    assert sent.body == b"secured"
    thread.join(20)
    listener.close()


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate of a name, signed by itself; give the file of it and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def make(name: str):
        key = ec.generate_private_key(ec.SECP256R1())
        whom = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(whom)
            .issuer_name(whom)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path / f"{name}.pem"
        path.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    return make


def test_networks_are_named_with_commas(monkeypatch) -> None:
    monkeypatch.setenv("FIN_QLORA_HUB_OUTGOING_NETWORKS", "10.0.0.0/8, fd00::/8")
    assert list(map(str, Settings().outgoing_networks)) == ["10.0.0.0/8", "fd00::/8"]


def test_only_hosts_that_are_named(monkeypatch) -> None:
    monkeypatch.setenv("FIN_QLORA_HUB_OUTGOING_HOSTS", "ci.bank.example, .corp.example")
    calling = Outgoing.of(Settings())
    for host in ("ci.bank.example", "CI.Bank.Example.", "a.corp.example", "b.a.corp.example"):
        calling.check(f"https://{host}/")
    for host in (
        "bank.example",
        "x.ci.bank.example",
        "corp.example",
        "evilcorp.example",
        "8.8.8.8",
    ):
        with pytest.raises(ForbiddenAddressError, match="OUTGOING_HOSTS"):
            calling.check(f"https://{host}/")
        with pytest.raises(ForbiddenAddressError):
            calling.send(f"https://{host}/")
