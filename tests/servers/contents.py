"""What a hub keeps of contents, on its disk or in its bucket: for tests to look at and to spoil.

A name is `blobs/ab/cd...` or `xorbs/ab/cd...`; in a bucket, a xorb's ends with when it came.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from fin_qlora_hub.settings import Settings
from fin_qlora_hub.stores import disk


def hash_of(name: str) -> str:
    """Return the hash that stands in a name."""
    return "".join(name.split("/")[1:]).partition("-")[0]


class Contents(Protocol):
    """All contents of one hub."""

    def names(self, folder: str) -> list[str]:
        """Return what is in `blobs` or in `xorbs`, in order."""

    def arriving(self) -> list[Path]:
        """Return the files that are still being received."""

    def everything(self) -> set[str]:
        """Return all names, and those of files that are still being received."""

    def read(self, name: str) -> bytes:
        """Return the bytes."""

    def write(self, name: str, data: bytes) -> None:
        """Put other bytes there, which are not new for that."""

    def remove(self, name: str) -> None:
        """Take them away."""

    def age(self, days: float) -> None:
        """Make everything so much older, a xorb as if it had come with an older row."""


def contents_of(settings: Settings) -> Contents:
    """Return the contents of a hub."""
    return OnDisk(settings) if settings.storage_url is None else InBucket(settings)


def _everything(contents: Contents) -> set[str]:
    names = {name for folder in ("blobs", "xorbs") for name in contents.names(folder)}
    return names | {str(path) for path in contents.arriving()}


def flip(contents: Contents, name: str, *, at: int | None = None) -> None:
    """Change one bit, in the middle unless told."""
    data = bytearray(contents.read(name))
    data[len(data) // 2 if at is None else at] ^= 1
    contents.write(name, bytes(data))


class OnDisk:
    """Contents in the data directory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def names(self, folder: str) -> list[str]:
        root = self._settings.data_dir
        found = (path for _, path in disk.named_files(root / folder))
        return [str(path.relative_to(root)) for path in found]

    def arriving(self) -> list[Path]:
        roots = (self._settings.blobs_path, self._settings.xorbs_path)
        return [path for root in roots for path in (root / "incoming").iterdir()]

    def everything(self) -> set[str]:
        return _everything(self)

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        self._path(name).unlink()

    def age(self, days: float) -> None:
        for folder in ("blobs", "xorbs"):
            for name in self.names(folder):
                os.utime(self._path(name), (time.time() - days * 86400,) * 2)

    def _path(self, name: str) -> Path:
        return self._settings.data_dir / name


class InBucket:
    """Contents in a bucket of moto's server."""

    def __init__(self, settings: Settings) -> None:
        import boto3
        from botocore.config import Config

        assert settings.storage_url is not None
        assert settings.s3_access_key_id is not None
        assert settings.s3_secret_access_key is not None
        parts = urlsplit(settings.storage_url)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/") + "/"
        self._scratch, self._endpoint = settings.scratch_path, settings.s3_endpoint
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            aws_access_key_id=settings.s3_access_key_id.get_secret_value(),
            aws_secret_access_key=settings.s3_secret_access_key.get_secret_value(),
            region_name=settings.s3_region,
            config=Config(s3={"addressing_style": "path"}),
        )

    def names(self, folder: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{folder}/"
        )
        found = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return [key.removeprefix(self._prefix) for key in found]

    def arriving(self) -> list[Path]:
        return [path for path in self._scratch.rglob("*") if path.is_file()]

    def everything(self) -> set[str]:
        return _everything(self)

    def read(self, name: str) -> bytes:
        return self._s3.get_object(**self._place(name))["Body"].read()

    def write(self, name: str, data: bytes) -> None:
        self._s3.put_object(**self._place(name), Body=data)

    def remove(self, name: str) -> None:
        self._s3.delete_object(**self._place(name))

    def age(self, days: float) -> None:
        for name in self.names("xorbs"):
            place, _, made = name.rpartition("-")
            source = self._place(name)
            older = self._place(f"{place}-{int(made) - round(days * 86400e6)}")
            self._s3.copy_object(**older, CopySource=source)
            self._s3.delete_object(**source)
        asked = {"bucket": self._bucket, "prefix": self._prefix, "days": days}
        httpx.post(f"{self._endpoint}/throwaway/age", params=asked).raise_for_status()

    def _place(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}
