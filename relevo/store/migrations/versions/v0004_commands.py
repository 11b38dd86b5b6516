"""The ledger of commands, and commands to many devices."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "commands",
        sa.Column("number", sa.Integer(), nullable=False),
        _text("id"),
        _text("device"),
        _text("name"),
        sa.Column("params", sa.JSON(), nullable=False),
        _text("by"),
        _text("origin"),
        _number("created_at"),
        _number("expires_at"),
        _text("state"),
        _text("key"),
        _text("lane"),
        _number("answer_ms"),
        sa.Column("redeliver", sa.Boolean(), nullable=False),
        _number("sent_at"),
        _number("deadline"),
        _number("ended_at"),
        _text("reason"),
        sa.Column("result", sa.JSON()),
        sa.Column("transitions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("commands_device", "commands", ["device", "number"])
    op.create_index("commands_origin", "commands", ["origin", "number"])
    op.create_index("commands_state", "commands", ["state", "number"])
    op.create_table(
        "bulks",
        _text("id"),
        _text("by"),
        _text("name"),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("ttl_s", sa.Float(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("stop_share", sa.Float(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        _number("created_at"),
        _text("state"),
        _text("reason"),
        _number("ended_at"),
        sa.Column("refused", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
