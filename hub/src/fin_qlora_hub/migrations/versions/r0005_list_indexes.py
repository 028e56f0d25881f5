"""Indexes in the order of lists: for what is public, and for one namespace."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEYS = ("updated_at", "created_at", "downloads")


def upgrade() -> None:
    """Make an index for each order and part."""
    op.drop_index(op.f("ix_repositories_kind_updated_at"), table_name="repositories")
    for key in KEYS:
        op.create_index(
            f"ix_repositories_public_{key}", "repositories", ["kind", "private", key, "id"]
        )
        op.create_index(
            f"ix_repositories_namespace_{key}",
            "repositories",
            ["namespace_id", "kind", "private", key, "id"],
        )


def downgrade() -> None:
    """Go back to the one index."""
    for key in KEYS:
        op.drop_index(f"ix_repositories_public_{key}", table_name="repositories")
        op.drop_index(f"ix_repositories_namespace_{key}", table_name="repositories")
    op.create_index(op.f("ix_repositories_kind_updated_at"), "repositories", ["kind", "updated_at"])
