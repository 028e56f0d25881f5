"""What can be set about a server: by argument, by FIN_QLORA_HUB_* variables, or by default."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
PUBLIC_HUBS = ("huggingface.co", "hf.co")


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

    @field_validator("outgoing_networks", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

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
    def collection_lock_path(self) -> Path:
        """The file that a backup and a collection of unused contents cannot hold at once."""
        return self.data_dir / "collection.lock"

    @property
    def lock_path(self) -> Path:
        """The file that a running server holds locked."""
        return self.data_dir / "serve.lock"
