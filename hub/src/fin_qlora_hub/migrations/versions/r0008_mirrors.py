"""Repositories of another hub that this one mirrors."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of mirrors, the revisions that they follow, and what is on its way."""
    op.create_table(
        "mirrors",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("name_key", sa.String(length=96), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=True),
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_mirrors_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_mirrors_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mirrors")),
        sa.UniqueConstraint(
            "kind", "namespace_id", "name_key", name=op.f("uq_mirrors_kind_namespace_id_name_key")
        ),
        sa.UniqueConstraint("repository_id", name=op.f("uq_mirrors_repository_id")),
    )
    op.create_table(
        "mirror_revisions",
        sa.Column("mirror_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.String(length=300), nullable=False),
        sa.Column("commit_oid", sa.String(length=40), nullable=False),
        sa.Column("checked_at", sa.DateTime(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["mirror_id"],
            ["mirrors.id"],
            name=op.f("fk_mirror_revisions_mirror_id_mirrors"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("mirror_id", "revision", name=op.f("pk_mirror_revisions")),
    )
    op.create_table(
        "mirror_contents",
        sa.Column("mirror_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("git_sha1", sa.String(length=40), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("commit_oid", sa.String(length=40), nullable=False),
        sa.Column("fetched_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["mirror_id"],
            ["mirrors.id"],
            name=op.f("fk_mirror_contents_mirror_id_mirrors"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("mirror_id", "sha256", name=op.f("pk_mirror_contents")),
    )


def downgrade() -> None:
    """Forget what is mirrored; the repositories stay."""
    for table in ("mirror_contents", "mirror_revisions", "mirrors"):
        op.drop_table(table)
