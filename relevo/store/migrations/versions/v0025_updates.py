"""Releases of firmware, roll-outs, and what became of each device in them."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "releases",
        _text("id"),
        _text("version"),
        _text("board"),
        _number("boot"),
        _number("mpy"),
        _text("notes"),
        _number("size"),
        _text("sha256"),
        _json("files"),
        _text("by"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "rollouts",
        _text("id"),
        _text("release"),
        _text("by"),
        _text("note"),
        _json("selection"),
        _json("waves"),
        _number("halt_percent"),
        _number("halt_least"),
        _number("wave_pause_s"),
        _number("patience_s"),
        sa.Column("older", sa.Boolean(), nullable=False),
        _number("created_at"),
        _number("deadline_at"),
        _text("state"),
        _text("reason"),
        _number("wave"),
        _number("wave_at"),
        _number("wave_over_at"),
        _number("resumed_at"),
        _number("judged_from"),
        _number("changed_at"),
        _text("changed_by"),
        _number("ended_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "rollout_devices",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        _text("rollout"),
        _text("device"),
        _text("release"),
        _small("wave"),
        _text("state"),
        _text("reason"),
        _small("percent"),
        _small("attempts"),
        _number("issued"),
        _number("changed_at"),
        _number("ended_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("rollout_devices_pair", "rollout_devices", ["rollout", "device"], unique=True)
    op.create_index("rollout_devices_device", "rollout_devices", ["device", "number"])
