"""Notifications: inboxes, channels, preferences, and what is on its way."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
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
        "notifications",
        sa.Column("number", sa.Integer(), nullable=False, primary_key=True, autoincrement=True),
        _text("id"),
        _text("account"),
        _text("device"),
        _number("at"),
        _text("severity"),
        _text("source"),
        _text("title"),
        _text("text"),
        _text("key"),
        _number("count"),
        _number("last_at"),
        _number("read_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("notifications_account", "notifications", ["account", "number"])
    op.create_index("notifications_id", "notifications", ["id"])
    op.create_index("notifications_at", "notifications", ["at"])
    op.create_table(
        "channels",
        _text("id"),
        _text("account"),
        _text("name"),
        _text("kind"),
        _text("url"),
        _number("created_at"),
        _flag("enabled"),
        _text("min_severity"),
        _text("digest"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "channel_health",
        _text("id"),
        _number("failing_since"),
        _number("told_at"),
        _text("error"),
        _number("sent_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "notice_preferences",
        _text("id"),
        _text("language"),
        _text("zone"),
        _json("quiet"),
        _text("quiet_action"),
        _flag("critical_passes"),
        _text("digest"),
        _text("digest_at"),
        _json("severities"),
        _json("muted"),
        _number("snoozed_until"),
        _text("scope"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "outbox",
        _text("id"),
        _text("account"),
        _text("channel"),
        _text("notification"),
        _number("due_at"),
        _flag("together"),
        _number("at"),
        _text("severity"),
        _text("source"),
        _text("device"),
        _text("title"),
        _text("text"),
        _number("more"),
        _number("attempts"),
        _number("tried_at"),
        sa.PrimaryKeyConstraint("id"),
    )
