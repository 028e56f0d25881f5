"""Refuses every socket that would leave this machine, here and in Python programs started here.

An audit hook sees what Python code asks of the socket module, whichever library asks. It cannot
see sockets that native code opens by itself (hf_xet, gloo): for those the tests set HF_ENDPOINT and
the proxy variables to a closed loopback port.

The folder of this file goes first on PYTHONPATH, where ``sitecustomize`` installs the hook in every
child. Each refusal is also written to the file that FIN_QLORA_TEST_DIALS names, because libraries
like to swallow errors of the network.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys

RECORD = "FIN_QLORA_TEST_DIALS"
CLOSED = "http://127.0.0.1:9"


class DialledOutError(OSError):
    """A test, or a program that it started, tried to reach another machine."""


def is_loopback(host: object) -> bool:
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "replace")
    if host is None or host in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return str(host).endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def refuse_unless_loopback(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        connection, address = arguments[0], arguments[1]
        if getattr(connection, "family", None) not in (socket.AF_INET, socket.AF_INET6):
            return
        if not isinstance(address, tuple):  # sendmsg on a connected socket names no address
            return
        host = address[0]
    else:
        return
    if is_loopback(host):
        return
    record = os.environ.get(RECORD)
    if record:
        with open(record, "a", encoding="utf-8") as stream:
            stream.write(f"{event} {host} by process {os.getpid()}: {' '.join(sys.argv)}\n")
    raise DialledOutError(f"{event}: '{host}' is not this machine, and tests may not leave it.")


def install() -> None:
    sys.addaudithook(refuse_unless_loopback)
