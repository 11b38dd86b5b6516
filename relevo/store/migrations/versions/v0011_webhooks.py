"""Webhooks, how far each is, and the deliveries that failed."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
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
        "webhooks",
        _text("id"),
        _text("name"),
        _text("url"),
        _text("owner"),
        _text("by"),
        _text("salt"),
        _number("created_at"),
        _json("kinds"),
        _json("devices"),
        _json("types"),
        _json("tags"),
        _text("format"),
        _json("headers"),
        _flag("enabled"),
        _text("disabled_reason"),
        _flag("allow_private"),
        _text("former_salt"),
        _number("former_until"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "webhook_progress",
        _text("id"),
        _number("position"),
        _json("ahead"),
        _number("failing_since"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "webhook_deliveries",
        _text("webhook"),
        _number("seq"),
        _text("device"),
        _text("kind"),
        _text("body"),
        _number("taken_at"),
        _text("state"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _number("last_at"),
        _number("next_at"),
        sa.Column("status", sa.Integer(), nullable=False),
        _text("error"),
        _text("answer"),
        sa.PrimaryKeyConstraint("webhook", "seq"),
    )
    op.create_index("webhook_deliveries_state", "webhook_deliveries", ["webhook", "state", "seq"])
