"""Branches and tags that stay, repositories under a hold, and names that nobody takes over."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LEADS_TO = "fk_former_names_repository_id_repositories"


def upgrade() -> None:
    """Make the two tables; former names outlive what they led to."""
    op.create_table(
        "protected_refs",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("protected_by", sa.String(length=96), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_protected_refs_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "name", name=op.f("pk_protected_refs")),
    )
    op.create_table(
        "holds",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_holds_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_holds")),
    )
    _lead_to(nullable=True, when_gone="SET NULL")


def downgrade() -> None:
    """Forget protection, holds and the names of what is gone."""
    op.execute("DELETE FROM former_names WHERE repository_id IS NULL")
    _lead_to(nullable=False, when_gone="CASCADE")
    op.drop_table("holds")
    op.drop_table("protected_refs")


def _lead_to(*, nullable: bool, when_gone: str) -> None:
    with op.batch_alter_table("former_names") as batch:
        batch.drop_constraint(LEADS_TO, type_="foreignkey")
        batch.alter_column("repository_id", existing_type=sa.Integer(), nullable=nullable)
        batch.create_foreign_key(
            LEADS_TO, "repositories", ["repository_id"], ["id"], ondelete=when_gone
        )
