"""OpenStack Swift with its S3 interface, all of it in this one process: `swift_node.py FOLDER`.

Prints the port that it took on loopback, and serves until its standard input ends. Swift checks
what moto lets through: signatures, what they cover, and when they expire. Objects are in memory.
"""

import array
import sys
from pathlib import Path

import eventlet
from eventlet import listen, tpool, wsgi
from swift.common import utils
from swift.common.http_protocol import SwiftHttpProtocol
from swift.common.ring import RingData
from swift.common.wsgi import loadapp

KINDS = {"account": "account", "container": "container", "object": "mem_object"}
BACKEND = """
[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{program}
"""
PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper s3api tempauth bulk slo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_hub_tester = secret .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
rate_limit_after_segment = 1000000
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def serve(folder: Path) -> None:
    """Write down the settings and rings of a cluster of one, and run its four servers."""
    utils.eventlet_monkey_patch()
    names = folder / "swift.conf"
    names.write_text("[swift-hash]\nswift_hash_path_suffix = throwaway\n")
    utils.SWIFT_CONF_FILE = str(names)
    utils.validate_hash_conf()
    (folder / "devices" / "one").mkdir(parents=True)
    common = (
        f"[DEFAULT]\nswift_dir = {folder}\ndevices = {folder / 'devices'}\nmount_check = false\n"
        f"recon_cache_path = {folder}\nlog_level = CRITICAL\nlog_address = {folder / 'none'}\n"
    )
    listeners = {name: listen(("127.0.0.1", 0), backlog=200) for name in [*KINDS, "proxy"]}
    for name, program in KINDS.items():
        write_ring(folder / f"{name}.ring.gz", port=listeners[name].getsockname()[1])
        (folder / f"{name}.conf").write_text(common + BACKEND.format(program=program))
    (folder / "proxy.conf").write_text(common + PROXY)
    for name, listener in listeners.items():
        app = loadapp(str(folder / f"{name}.conf"), global_conf={"log_name": name})
        eventlet.spawn(
            wsgi.server,
            listener,
            app,
            protocol=SwiftHttpProtocol,
            capitalize_response_headers=False,  # clients look for "ETag"
            log_output=False,
            debug=False,
        )
    print(listeners["proxy"].getsockname()[1], flush=True)
    tpool.execute(sys.stdin.buffer.read)  # a thread, so that the servers run meanwhile


def write_ring(path: Path, *, port: int) -> None:
    """Put everything on the one device there is."""
    device = {
        "id": 0,
        "region": 1,
        "zone": 1,
        "device": "one",
        "weight": 1.0,
        "meta": "",
        "ip": "127.0.0.1",
        "port": port,
        "replication_ip": "127.0.0.1",
        "replication_port": port,
    }
    RingData([array.array("H", [0])], [device], 32).save(str(path))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
