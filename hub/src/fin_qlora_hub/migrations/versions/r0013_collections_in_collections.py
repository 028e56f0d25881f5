"""A collection may stand in another one."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
# No number of an item is given out twice.
_NUMBERS = {"sqlite_autoincrement": True}


def upgrade() -> None:
    """Let an item be a collection in place of a repository."""
    with op.batch_alter_table("collection_items", table_kwargs=_NUMBERS) as batch:
        batch.add_column(sa.Column("held_id", sa.Integer(), nullable=True))
        batch.alter_column("repository_id", existing_type=sa.Integer(), nullable=True)
        batch.create_foreign_key(
            "fk_collection_items_held_id_collections",
            "collections",
            ["held_id"],
            ["id"],
            ondelete="CASCADE",
        )
        batch.create_unique_constraint(
            "uq_collection_items_collection_id_held_id", ["collection_id", "held_id"]
        )
        batch.create_index("ix_collection_items_held_id", ["held_id"])


def downgrade() -> None:
    """Take such items out again."""
    op.execute(sa.text("DELETE FROM collection_items WHERE repository_id IS NULL"))
    with op.batch_alter_table("collection_items", table_kwargs=_NUMBERS) as batch:
        batch.drop_index("ix_collection_items_held_id")
        batch.drop_constraint("uq_collection_items_collection_id_held_id", type_="unique")
        batch.drop_constraint("fk_collection_items_held_id_collections", type_="foreignkey")
        batch.alter_column("repository_id", existing_type=sa.Integer(), nullable=False)
        batch.drop_column("held_id")
