"""Sign-ins by a browser, tokens of limited reach, and when a token was last used."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

COLUMNS = ("kind", "reach", "client_id", "approved_by", "last_used_at")


def upgrade() -> None:
    """Say more of each token; make the tables of sign-ins."""
    op.add_column(
        "tokens", sa.Column("kind", sa.String(length=8), nullable=False, server_default="access")
    )
    op.add_column("tokens", sa.Column("reach", sa.JSON(), nullable=True))
    op.add_column("tokens", sa.Column("client_id", sa.String(length=100), nullable=True))
    op.add_column("tokens", sa.Column("approved_by", sa.Integer(), nullable=True))
    op.add_column("tokens", sa.Column("last_used_at", sa.DateTime(), nullable=True))
    op.create_index(op.f("ix_tokens_approved_by"), "tokens", ["approved_by"])
    op.create_table(
        "issued_secrets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("lookup", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["token_id"],
            ["tokens.id"],
            name=op.f("fk_issued_secrets_token_id_tokens"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issued_secrets")),
    )
    op.create_index(op.f("ix_issued_secrets_token_id"), "issued_secrets", ["token_id"])
    op.create_index(op.f("ix_issued_secrets_lookup"), "issued_secrets", ["lookup"])
    op.create_table(
        "device_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_code", sa.String(length=8), nullable=False),
        sa.Column("client_id", sa.String(length=100), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=120), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"],
            ["tokens.id"],
            name=op.f("fk_device_requests_token_id_tokens"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_requests")),
        sa.UniqueConstraint("digest", name=op.f("uq_device_requests_digest")),
        sa.UniqueConstraint("user_code", name=op.f("uq_device_requests_user_code")),
    )
    op.create_index(op.f("ix_device_requests_token_id"), "device_requests", ["token_id"])
    op.create_index(op.f("ix_device_requests_expires_at"), "device_requests", ["expires_at"])
    op.create_table(
        "external_identities",
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["namespaces.id"],
            name=op.f("fk_external_identities_user_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_external_identities")),
    )
    op.create_index(op.f("ix_external_identities_user_id"), "external_identities", ["user_id"])


def downgrade() -> None:
    """Take it back; sign-ins end, and tokens of limited reach with them."""
    op.drop_table("external_identities")
    op.drop_table("device_requests")
    op.drop_table("issued_secrets")
    op.execute("DELETE FROM tokens WHERE kind <> 'access' OR reach IS NOT NULL")
    op.drop_index(op.f("ix_tokens_approved_by"), table_name="tokens")
    for column in COLUMNS:
        op.drop_column("tokens", column)
