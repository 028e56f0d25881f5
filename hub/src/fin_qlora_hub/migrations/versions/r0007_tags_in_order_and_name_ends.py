"""Tags in the order of lists, and the ends of names by which parts of them are found."""

from itertools import islice

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

END_LENGTH = 32
LISTED = ("namespace_id", "kind", "private", "updated_at", "created_at", "downloads")
ROWS_AT_ONCE = 1000


def upgrade() -> None:
    """Let tags repeat what lists are sorted by, and take every name apart."""
    op.create_index("ix_repositories_listed", "repositories", ["id", *LISTED], unique=True)
    _set_tags_aside()
    _make_tags()
    columns = ", ".join(f"r.{name}" for name in LISTED)
    op.execute(
        f"INSERT INTO repository_tags (repository_id, tag, {', '.join(LISTED)}) "
        f"SELECT r.id, t.tag, {columns} FROM former_tags t JOIN repositories r "
        "ON r.id = t.repository_id"
    )
    op.drop_table("former_tags")
    _index_tags()
    op.create_table(
        "name_ends",
        sa.Column("ending", sa.String(length=END_LENGTH), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_name_ends_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("ending", "repository_id", name=op.f("pk_name_ends")),
        sqlite_with_rowid=False,
    )
    _take_names_apart()
    op.create_index(op.f("ix_name_ends_repository_id"), "name_ends", ["repository_id"])


def downgrade() -> None:
    """Go back to tags that know their repository alone."""
    op.drop_table("name_ends")
    _set_tags_aside()
    op.create_table(
        "repository_tags",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_repository_tags_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "tag", name=op.f("pk_repository_tags")),
    )
    op.execute("INSERT INTO repository_tags SELECT repository_id, tag FROM former_tags")
    op.drop_table("former_tags")
    op.create_index(op.f("ix_repository_tags_tag"), "repository_tags", ["tag"])
    op.drop_index("ix_repositories_listed", table_name="repositories")


def _set_tags_aside() -> None:
    op.execute("CREATE TABLE former_tags AS SELECT repository_id, tag FROM repository_tags")
    op.drop_table("repository_tags")


def _make_tags() -> None:
    op.create_table(
        "repository_tags",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("downloads", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id", *LISTED],
            [f"repositories.{name}" for name in ("id", *LISTED)],
            name=op.f("fk_repository_tags_repository_id_repositories"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "tag", name=op.f("pk_repository_tags")),
    )


def _index_tags() -> None:
    for key in LISTED[3:]:
        for part, columns in (("public", LISTED[1:3]), ("namespace", LISTED[:3])):
            op.create_index(
                f"ix_repository_tags_{part}_{key}",
                "repository_tags",
                ["tag", *columns, key, "repository_id"],
            )


def _take_names_apart() -> None:
    connection = op.get_bind()
    names = connection.execute(
        sa.text(
            "SELECT r.id, n.name_key || '/' || r.name_key FROM repositories r "
            "JOIN namespaces n ON n.id = r.namespace_id"
        )
    )
    ends = sa.table("name_ends", sa.column("ending"), sa.column("repository_id"))
    rows = (
        {"repository_id": number, "ending": end}
        for number, name in names.all()
        for end in sorted({name[start : start + END_LENGTH] for start in range(len(name))})
    )
    while some := list(islice(rows, ROWS_AT_ONCE)):
        connection.execute(sa.insert(ends), some)
