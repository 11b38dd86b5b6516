"""Rules, what they remember, and alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "rules",
        _text("id"),
        _text("name"),
        _text("owner"),
        _json("condition"),
        _json("scope"),
        _json("actions"),
        sa.Column("cooldown_s", sa.Float(), nullable=False),
        _flag("enabled"),
        _json("clear_actions"),
        sa.Column("late_limit_s", sa.Float(), nullable=False),
        _text("by"),
        _number("created_at"),
        _text("stopped"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "rule_memory",
        _text("id"),
        _number("seq"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "alerts",
        sa.Column("number", sa.Integer(), nullable=False),
        _text("id"),
        _text("device"),
        _text("state"),
        _text("severity"),
        _text("text"),
        _text("owner"),
        _text("key"),
        _text("rule"),
        _text("name"),
        _number("opened_at"),
        _number("changed_at"),
        _number("ended_at"),
        sa.Column("count", sa.Integer(), nullable=False),
        _flag("auto_clear"),
        _json("rules"),
        _json("values"),
        _text("by"),
        _text("note"),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("alerts_device", "alerts", ["device", "number"])
    op.create_index("alerts_state", "alerts", ["state", "number"])
