"""What operators of contract emqx manage, and readings of sensors with numbers of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "managed",
        _text("id"),
        sa.Column("body", sa.JSON(), nullable=False),
        _number("created_at"),
        _number("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "readings",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _text("device"),
        _small("sensor"),
        _number("at"),
        sa.Column("value", sa.Float(), nullable=False),
        _small("message_id"),
        _small("qos"),
        sa.Column("retained", sa.Boolean(), nullable=False),
        _number("digest"),
        _number("received"),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("readings_device", "readings", ["device", "at"])
    op.create_index("readings_sensor", "readings", ["sensor", "at"])
    op.create_index("readings_at", "readings", ["at"])
