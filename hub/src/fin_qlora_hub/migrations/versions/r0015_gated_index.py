"""An index of the repositories that are gated."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it, of those alone."""
    where = sa.text("gated IS NOT NULL")
    op.create_index(
        "ix_repositories_gated",
        "repositories",
        ["gated"],
        sqlite_where=where,
        postgresql_where=where,
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_index("ix_repositories_gated", table_name="repositories")
