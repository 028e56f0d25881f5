"""Run by alembic inside `Database.migrate`, on the connection that it passes."""

from alembic import context

from fin_qlora_hub.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
