"""Gated repositories and requests for access to them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let repositories be gated; make the table of requests."""
    op.add_column("repositories", sa.Column("gated", sa.String(length=8), nullable=True))
    op.create_table(
        "access_requests",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("rejection_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_access_requests_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["namespaces.id"],
            name=op.f("fk_access_requests_user_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "user_id", name=op.f("pk_access_requests")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("access_requests")
    op.drop_column("repositories", "gated")
