"""What can be set about a server: by argument, by FIN_QLORA_HUB_* variables, or by default."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
PUBLIC_HUBS = ("huggingface.co", "hf.co")
GIB = 1024 * MIB
# Names with commas between them: environment variables hold no lists.
Names = Annotated[tuple[str, ...], NoDecode]
_MIRRORED = re.compile(r"(?:datasets/)?\w[\w.-]*/[\w.*?-]+", re.ASCII)
_HOST = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?")


def _also_of_aws(name: str, *others: str) -> AliasChoices:
    """Take a setting from the hub's own variable, or from those that all tools for S3 know."""
    return AliasChoices(f"FIN_QLORA_HUB_{name}", *others)


class Settings(BaseSettings):
    """How one server behaves; sizes are in bytes."""

    model_config = SettingsConfigDict(
        env_prefix="FIN_QLORA_HUB_", frozen=True, populate_by_name=True
    )

    data_dir: Path = Path("fin-qlora-hub-data")
    database_url: SecretStr | None = Field(
        default=None,
        description="A PostgreSQL database instead of the file in `data_dir`; may hold a password.",
    )
    database_connections: int = Field(default=20, gt=0, le=60)
    storage_url: str | None = Field(
        default=None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?$",
        description="A bucket, and what its keys begin with, instead of the folders in `data_dir`.",
    )
    s3_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s?#/]+/?$")
    s3_public_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s?#/]+/?$")
    s3_region: str = Field(
        default="us-east-1",
        pattern=r"^[a-zA-Z0-9-]+$",
        validation_alias=_also_of_aws("S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    )
    s3_access_key_id: SecretStr | None = Field(
        default=None, validation_alias=_also_of_aws("S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID")
    )
    s3_secret_access_key: SecretStr | None = Field(
        default=None, validation_alias=_also_of_aws("S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY")
    )
    s3_session_token: SecretStr | None = Field(
        default=None, validation_alias=_also_of_aws("S3_SESSION_TOKEN", "AWS_SESSION_TOKEN")
    )
    s3_virtual_host: bool = False
    s3_timeout_seconds: float = Field(default=30, gt=0)
    s3_retry_seconds: float = Field(default=15, ge=0)
    presigned_transfer: bool = True
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
    audit_reads: bool = Field(
        default=True, description="Whether it is on record who had which contents."
    )
    max_file_bytes: int = Field(default=64 * 1024 * MIB, gt=0)
    max_commit_bytes: int = Field(default=2048 * MIB, gt=0)
    max_request_bytes: int = Field(default=8 * MIB, gt=0)
    max_line_bytes: int = Field(default=MIB, gt=0)
    max_operations: int = Field(default=25_000, gt=0)
    quota_bytes: int | None = Field(
        default=None, ge=0, description="What a namespace may keep that has no quota of its own."
    )
    lfs_part_bytes: int = Field(default=1024 * MIB, gt=0)
    requests_per_minute: int = Field(default=30_000, ge=0)
    costly_requests_per_minute: int = Field(default=1200, ge=0)
    failures_per_minute: int = Field(default=60, ge=0)
    max_uploads: int = Field(default=32, gt=0)
    trust_file: Path | None = Field(
        default=None,
        description="Whom the hub believes about who somebody is.",
    )
    sign_in_days: int = Field(default=30, gt=0, le=3650)
    access_token_hours: int = Field(default=48, gt=0, le=24 * 365)
    outgoing_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Networks that are not public and to which the hub may send requests.",
    )
    outgoing_hosts: Names = Field(
        default=(), description="If there are any, the hub sends requests to these hosts alone."
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
    mirror_downloads: int = Field(default=8, gt=0, le=64)
    mirror_fresh_seconds: float = Field(default=300, ge=0)

    @field_validator(
        "outgoing_networks",
        "outgoing_hosts",
        "mirror_allow",
        "mirror_download_hosts",
        mode="before",
    )
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

    @model_validator(mode="after")
    def _has_what_it_mirrors(self) -> "Settings":
        if self.mirror_allow and self.mirror_upstream is None:
            raise ValueError(
                "FIN_QLORA_HUB_MIRROR_ALLOW needs FIN_QLORA_HUB_MIRROR_UPSTREAM: say of which hub"
            )
        return self

    @model_validator(mode="after")
    def _has_both_halves_of_a_key(self) -> "Settings":
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(
                "FIN_QLORA_HUB_S3_ACCESS_KEY_ID and FIN_QLORA_HUB_S3_SECRET_ACCESS_KEY (or the "
                "AWS_* variables) belong together: set both or neither"
            )
        return self

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
    def scratch_path(self) -> Path:
        """Where what arrives is written down before it goes to a bucket."""
        return self.data_dir / "scratch"

    @property
    def collection_lock_path(self) -> Path:
        """The file that a backup and a collection of unused contents cannot hold at once."""
        return self.data_dir / "collection.lock"

    @property
    def lock_path(self) -> Path:
        """The file that a running server holds locked."""
        return self.data_dir / "serve.lock"
