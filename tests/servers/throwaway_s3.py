"""S3 servers of the tests' own: on loopback, each a process that ends with the one that started it.

`Moto` does what S3 does, and believes every signature. `Swift` (OpenStack Swift's own S3 interface)
checks signatures, what they cover, and when they expire. Both come from PyPI with `make venv`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NEEDED = {"moto": "moto[s3] flask flask-cors", "swift": "swift"}


def missing(name: str) -> str | None:
    """Say what is missing for a server, None where all is there."""
    if find_spec(name) is None:
        return f"there is no {name}, which plays S3: pip install {NEEDED[name]}"
    return None


class ThrowawayS3:
    """A running server; `new_bucket` makes an empty bucket on it."""

    name = ""
    access_key_id = ""
    secret_access_key = ""
    region = "us-east-1"

    def __init__(self) -> None:
        absent = missing(self.name)
        if absent:
            raise RuntimeError(absent)
        self._numbers = count()
        self._folder = Path(tempfile.mkdtemp(prefix=f"throwaway-{self.name}-"))
        program = [sys.executable, str(HERE / f"{self.name}_node.py"), str(self._folder)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"{self.name} did not start:\n{(self._folder / 'log').read_text()}")
        self.port = int(port)
        self.url = f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> Any:
        """Return boto3's client of this server, the way most of the world talks to S3."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=options.pop("endpoint_url", self.url),
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, **options),
        )

    def new_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"hub-{next(self._numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def settings(
        self, bucket: str, *, prefix: str = "contents", endpoint: str | None = None
    ) -> dict[str, str]:
        """Return what a hub must be told to keep its contents in a bucket."""
        return {
            "storage_url": f"s3://{bucket}/{prefix}",
            "s3_endpoint": endpoint or self.url,
            "s3_region": self.region,
            "s3_access_key_id": self.access_key_id,
            "s3_secret_access_key": self.secret_access_key,
        }

    def remove(self) -> None:
        """End the server; what it kept is gone."""
        self._process.communicate(timeout=60)
        shutil.rmtree(self._folder, ignore_errors=True)


class Moto(ThrowawayS3):
    """Does what S3 does, and believes every signature."""

    name = "moto"
    access_key_id = "hub"
    secret_access_key = "secret"


class Swift(ThrowawayS3):
    """Checks signatures and their end, as S3 does."""

    name = "swift"
    access_key_id = "hub:tester"
    secret_access_key = "secret"
