"""Hours and days of each series, how far they go, and what of them is to be made anew."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _number(name: str, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default=default)


def upgrade() -> None:
    op.create_table(
        "rollups",
        _integer("id"),
        _integer("series"),
        _integer("step"),
        _number("t0"),
        _number("t1"),
        _integer("n"),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("rollups_series", "rollups", ["series", "step", "t0"])
    op.create_table(
        "marks",
        sa.Column("series", sa.Integer(), autoincrement=False, nullable=False),
        _number("rolled"),
        _number("raw_from", "0"),
        _number("hours_from", "0"),
        _number("days_from", "0"),
        sa.PrimaryKeyConstraint("series"),
    )
    op.create_table(
        "stale",
        _integer("id"),
        _integer("series"),
        _number("t0"),
        _number("t1"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("stale_series", "stale", ["series"])
