"""The record of acts, which the database refuses to change."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEXED = ("at", "actor", "repository")
REFUSED = ("UPDATE", "DELETE")


def upgrade() -> None:
    """Make the table, its guards, and the place of the last record."""
    op.create_table(
        "audit_records",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("act", sa.String(length=48), nullable=False),
        sa.Column("means", sa.String(length=8), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=True),
        sa.Column("token", sa.String(length=255), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("request", sa.String(length=128), nullable=True),
        sa.Column("repository_id", sa.Integer(), nullable=True),
        sa.Column("repository", sa.String(length=255), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("former", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_records")),
    )
    for column in INDEXED:
        op.create_index(op.f(f"ix_audit_records_{column}"), "audit_records", [column])
    state = sa.table("hub_state", sa.column("name"), sa.column("value"))
    op.bulk_insert(state, [{"name": "audit_head", "value": f"0 {'0' * 64}"}])
    for statement in _guards(op.get_bind().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    """Take it all back."""
    op.drop_table("audit_records")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION keep_audit_records()")
    op.execute("DELETE FROM hub_state WHERE name = 'audit_head'")


def _guards(database: str) -> list[str]:
    message = "the record of acts is not to be changed"
    if database == "sqlite":
        return [
            f"CREATE TRIGGER audit_records_no_{what.lower()} BEFORE {what} ON audit_records "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            for what in REFUSED
        ]
    function = (
        "CREATE FUNCTION keep_audit_records() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
    )
    return [function] + [
        f"CREATE TRIGGER audit_records_no_{what.lower()} BEFORE {what} ON audit_records "
        "FOR EACH ROW EXECUTE FUNCTION keep_audit_records()"
        for what in REFUSED
    ]
