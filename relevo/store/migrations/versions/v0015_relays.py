"""Boards of relays, what each relay does, and which have to go off again."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "relay_boards",
        _text("id"),
        _text("name"),
        _text("model"),
        _text("location"),
        _flag("active"),
        _number("created_at"),
        _number("changed_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "relay_channels",
        _text("id"),
        _text("device"),
        _number("channel"),
        _text("name"),
        _text("description"),
        _text("function"),
        _text("protection"),
        _text("group"),
        _number("pulse_ms"),
        _number("timer_s"),
        _number("limit_s"),
        _text("icon"),
        _text("color"),
        _flag("in_macros"),
        _flag("active"),
        _number("changed_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "relay_runs",
        _text("id"),
        _text("device"),
        _number("channel"),
        _text("why"),
        _number("on_at"),
        _number("lasts_ms"),
        sa.PrimaryKeyConstraint("id"),
    )
