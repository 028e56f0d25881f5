"""Xet: xorbs, who sent them, and the files that they make up."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of Xet and of the hub's own state."""
    with op.batch_alter_table("files") as batch:
        batch.alter_column("git_sha1", existing_type=sa.String(length=40), nullable=True)
    op.create_index(op.f("ix_files_sha256"), "files", ["sha256"], unique=False)
    state = op.create_table(
        "hub_state",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hub_state")),
    )
    op.bulk_insert(
        state,
        [
            {"name": "signing_key", "value": secrets.token_hex(32)},
            {"name": "xet_generation", "value": secrets.token_hex(4)},
        ],
    )
    op.create_table(
        "xorbs",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_xorbs")),
    )
    op.create_table(
        "xorb_owners",
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("xorb", sa.String(length=64), nullable=False),
        sa.Column("touched_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_xorb_owners_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["xorb"],
            ["xorbs.hash"],
            name=op.f("fk_xorb_owners_xorb_xorbs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("namespace_id", "xorb", name=op.f("pk_xorb_owners")),
    )
    op.create_index(op.f("ix_xorb_owners_xorb"), "xorb_owners", ["xorb"], unique=False)
    op.create_table(
        "xet_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("file_hash", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_xet_files_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xet_files")),
        sa.UniqueConstraint(
            "repository_id", "sha256", name=op.f("uq_xet_files_repository_id_sha256")
        ),
    )
    op.create_index(
        op.f("ix_xet_files_repository_id_file_hash"),
        "xet_files",
        ["repository_id", "file_hash"],
        unique=False,
    )
    op.create_index(op.f("ix_xet_files_file_hash"), "xet_files", ["file_hash"], unique=False)
    op.create_table(
        "xet_segments",
        sa.Column("file_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("xorb", sa.String(length=64), nullable=False),
        sa.Column("chunk_start", sa.Integer(), nullable=False),
        sa.Column("chunk_end", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["xet_files.id"],
            name=op.f("fk_xet_segments_file_id_xet_files"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["xorb"], ["xorbs.hash"], name=op.f("fk_xet_segments_xorb_xorbs")),
        sa.PrimaryKeyConstraint("file_id", "position", name=op.f("pk_xet_segments")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_xet_segments_xorb"), "xet_segments", ["xorb"], unique=False)
    op.create_table(
        "xet_chunks",
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("chunk", sa.String(length=64), nullable=False),
        sa.Column("file_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_xet_chunks_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["xet_files.id"],
            name=op.f("fk_xet_chunks_file_id_xet_files"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("namespace_id", "chunk", name=op.f("pk_xet_chunks")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_xet_chunks_file_id"), "xet_chunks", ["file_id"], unique=False)


def downgrade() -> None:
    """Remove them."""
    for table in ("xet_chunks", "xet_segments", "xet_files", "xorb_owners", "xorbs", "hub_state"):
        op.drop_table(table)
    op.drop_index(op.f("ix_files_sha256"), table_name="files")
