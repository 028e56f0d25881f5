"""What can be set about a server: by argument, by FIN_QLORA_HUB_* variables, or by default."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
PUBLIC_HUBS = ("huggingface.co", "hf.co")
GIB = 1024 * MIB
# Names with commas between them: environment variables hold no lists.
Names = Annotated[tuple[str, ...], NoDecode]
_MIRRORED = re.compile(r"(?:datasets/)?\w[\w.-]*/[\w.*?-]+", re.ASCII)
_HOST = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?")


class Settings(BaseSettings):
    """How one server behaves; sizes are in bytes."""

    model_config = SettingsConfigDict(env_prefix="FIN_QLORA_HUB_", frozen=True)

    data_dir: Path = Path("fin-qlora-hub-data")
    database_url: SecretStr | None = Field(
        default=None,
        description="A PostgreSQL database instead of the file in `data_dir`; may hold a password.",
    )
    database_connections: int = Field(default=20, gt=0, le=60)
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="Base URL that clients use; needed behind a proxy, may hold a path prefix.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks, with commas, whose X-Forwarded-* headers are believed.",
    )
    anonymous_read: bool = False
    max_file_bytes: int = Field(default=64 * 1024 * MIB, gt=0)
    max_commit_bytes: int = Field(default=2048 * MIB, gt=0)
    max_request_bytes: int = Field(default=8 * MIB, gt=0)
    max_line_bytes: int = Field(default=MIB, gt=0)
    max_operations: int = Field(default=25_000, gt=0)
    lfs_part_bytes: int = Field(default=1024 * MIB, gt=0)
    max_uploads: int = Field(default=32, gt=0)
    outgoing_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Networks that are not public and to which the hub may send requests.",
    )
    mirror_upstream: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#@]+$",
        description="Base URL of the hub of which repositories are mirrored.",
    )
    mirror_token: SecretStr | None = None
    mirror_allow: Names = ()
    mirror_download_hosts: Names = ()
    mirror_readers: Literal["everyone", "granted"] = "granted"
    mirror_repository_bytes: int = Field(default=256 * GIB, gt=0)
    mirror_total_bytes: int = Field(default=1024 * GIB, gt=0)
    mirror_downloads: int = Field(default=4, gt=0, le=32)
    mirror_fresh_seconds: float = Field(default=300, ge=0)

    @field_validator("outgoing_networks", "mirror_allow", "mirror_download_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        schemes = ("postgresql://", "postgres://", "postgresql+psycopg://")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("it must begin with postgresql://")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_no_public_hub(cls, value: str | None) -> str | None:
        host = urlsplit(value or "").hostname or ""
        if host in PUBLIC_HUBS or host.endswith(tuple(f".{hub}" for hub in PUBLIC_HUBS)):
            # Clients take their token along to these, wherever they are sent there from.
            raise ValueError(f"{host} is the public hub, which would get your users' tokens")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for part in filter(None, value.split(",")):
            ip_network(part.strip())
        return value

    @field_validator("mirror_allow")
    @classmethod
    def _are_repositories(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not _MIRRORED.fullmatch(pattern):
                raise ValueError(
                    f"{pattern!r} is no pattern of repositories: write NAMESPACE/NAME or "
                    "datasets/NAMESPACE/NAME, where '*' may stand in NAME alone"
                )
        return value

    @field_validator("mirror_download_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        hosts = tuple(host.lower() for host in value)
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is no host: write cdn.example.com or *.example.com")
        return hosts

    @property
    def database_path(self) -> Path:
        """Where the metadata lies unless `database_url` is set."""
        return self.data_dir / "hub.sqlite3"

    @property
    def blobs_path(self) -> Path:
        """Where file contents lie."""
        return self.data_dir / "blobs"

    @property
    def xorbs_path(self) -> Path:
        """Where the chunks of large files lie."""
        return self.data_dir / "xorbs"

    @property
    def parts_path(self) -> Path:
        """Where parts of large files wait for the others."""
        return self.data_dir / "parts"

    @property
    def mirror_path(self) -> Path:
        """Where files of another hub grow until they have come whole."""
        return self.data_dir / "mirror"

    @property
    def collection_lock_path(self) -> Path:
        """The file that a backup and a collection of unused contents cannot hold at once."""
        return self.data_dir / "collection.lock"

    @property
    def lock_path(self) -> Path:
        """The file that a running server holds locked."""
        return self.data_dir / "serve.lock"
