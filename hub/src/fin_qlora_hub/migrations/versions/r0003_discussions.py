"""Discussions and pull requests, and the former names of repositories that were moved."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of discussions and of former names."""
    op.create_table(
        "discussions",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("num", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("author", sa.String(length=96), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("is_pull_request", sa.Boolean(), nullable=False),
        sa.Column("base", sa.String(length=300), nullable=True),
        sa.Column("base_oid", sa.String(length=40), nullable=True),
        sa.Column("merge_oid", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_discussions_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "num", name=op.f("pk_discussions")),
    )
    op.create_table(
        "discussion_events",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("num", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("author", sa.String(length=96), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id", "num"],
            ["discussions.repository_id", "discussions.num"],
            name=op.f("fk_discussion_events_repository_id_num_discussions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "repository_id", "num", "position", name=op.f("pk_discussion_events")
        ),
    )
    op.create_table(
        "former_names",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("name_key", sa.String(length=96), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_former_names_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_former_names_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("kind", "namespace_id", "name_key", name=op.f("pk_former_names")),
    )
    op.create_index(
        op.f("ix_former_names_repository_id"), "former_names", ["repository_id"], unique=False
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("former_names", "discussion_events", "discussions"):
        op.drop_table(table)
