"""When a repository was last sent a content: no store is asked for it any more."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what is there counts as sent just now."""
    op.add_column("files", sa.Column("sent_at", sa.DateTime(), nullable=True))
    files = sa.table("files", sa.column("sent_at", sa.DateTime()))
    now = datetime.now(UTC).replace(tzinfo=None)
    op.execute(sa.update(files).values(sent_at=sa.bindparam("now", now, sa.DateTime())))
    with op.batch_alter_table("files") as batch:
        batch.alter_column("sent_at", existing_type=sa.DateTime(), nullable=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_column("files", "sent_at")
