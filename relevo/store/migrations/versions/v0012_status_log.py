"""The log of what devices of contract alchemy said that they do."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "status_log",
        sa.Column("id", sa.Integer(), nullable=False, primary_key=True, autoincrement=True),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("status_log_device", "status_log", ["device", "id"])
    op.create_index("status_log_at", "status_log", ["at"])
