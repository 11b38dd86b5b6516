"""Customers of a water utility, and what their meters used in each month."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _float(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "customers",
        _text("id"),
        _text("name"),
        _number("created_at"),
        _text("contact"),
        _float("price"),
        _text("currency"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "meter_months",
        _text("id"),
        _text("device"),
        _text("month"),
        _float("litres"),
        _number("seq"),
        sa.PrimaryKeyConstraint("id"),
    )
