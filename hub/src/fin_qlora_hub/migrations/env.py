"""Run by alembic inside `Database.migrate`, on the connection that it passes."""

from alembic import context

from fin_qlora_hub.metadata.postgresql import order_by_bytes
from fin_qlora_hub.metadata.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
if connection.dialect.name == "postgresql":
    order_by_bytes(connection)
