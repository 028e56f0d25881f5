"""Quotas of namespaces, what each repository holds, and room kept for what is to come."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns and count what is there."""
    op.add_column("namespaces", sa.Column("quota_bytes", sa.BigInteger(), nullable=True))
    op.add_column(
        "repositories",
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.execute(
        "UPDATE repositories SET stored_bytes = (SELECT coalesce(sum(files.size), 0) FROM files "
        "WHERE files.repository_id = repositories.id)"
    )
    op.create_index(
        "ix_repositories_stored_bytes", "repositories", ["namespace_id", "stored_bytes"]
    )
    op.create_table(
        "reservations",
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_reservations_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("namespace_id", "name", name=op.f("pk_reservations")),
    )


def downgrade() -> None:
    """Forget quotas and sums."""
    op.drop_table("reservations")
    op.drop_index("ix_repositories_stored_bytes", table_name="repositories")
    op.drop_column("repositories", "stored_bytes")
    op.drop_column("namespaces", "quota_bytes")
