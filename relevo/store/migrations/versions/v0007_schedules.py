"""Sites with their clocks; schedules, and how far each is done with."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "sites",
        _text("id"),
        _text("zone"),
        sa.Column("lat", sa.Float()),
        sa.Column("lon", sa.Float()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "schedules",
        _text("id"),
        _text("name"),
        _text("owner"),
        _text("by"),
        _json("timing"),
        _json("action"),
        _number("created_at"),
        _json("end_action"),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        _text("zone"),
        sa.Column("lat", sa.Float()),
        sa.Column("lon", sa.Float()),
        _text("missed"),
        _number("late_limit_s"),
        _number("jitter_s"),
        _number("since"),
        _number("starts_at"),
        _number("ends_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "schedule_progress",
        _text("id"),
        _number("done_at"),
        _number("ran_at"),
        _number("asked"),
        _text("note"),
        sa.PrimaryKeyConstraint("id"),
    )
