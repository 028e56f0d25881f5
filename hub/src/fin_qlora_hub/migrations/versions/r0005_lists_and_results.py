"""Indexes in the order of lists, results of evaluations that models tell of, and collections."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEYS = ("updated_at", "created_at", "downloads")


def upgrade() -> None:
    """Make an index for each order and part of a list, and the table of results."""
    op.create_table(
        "evaluation_results",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("dataset_key", sa.String(length=193), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_evaluation_results_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "position", name=op.f("pk_evaluation_results")),
    )
    op.create_index(
        op.f("ix_evaluation_results_dataset_key"), "evaluation_results", ["dataset_key"]
    )
    _make_collections()
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
    """Go back to the one index, without results and collections."""
    op.drop_table("collection_items")
    op.drop_table("collections")
    op.drop_table("evaluation_results")
    for key in KEYS:
        op.drop_index(f"ix_repositories_public_{key}", table_name="repositories")
        op.drop_index(f"ix_repositories_namespace_{key}", table_name="repositories")
    op.create_index(op.f("ix_repositories_kind_updated_at"), "repositories", ["kind", "updated_at"])


def _make_collections() -> None:
    op.create_table(
        "collections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=60), nullable=False),
        sa.Column("description", sa.String(length=150), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("theme", sa.String(length=8), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_collections_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collections")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_collections_namespace_id"), "collections", ["namespace_id"])
    op.create_table(
        "collection_items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name=op.f("fk_collection_items_collection_id_collections"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_collection_items_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection_items")),
        sa.UniqueConstraint(
            "collection_id",
            "repository_id",
            name=op.f("uq_collection_items_collection_id_repository_id"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_collection_items_repository_id"), "collection_items", ["repository_id"]
    )
