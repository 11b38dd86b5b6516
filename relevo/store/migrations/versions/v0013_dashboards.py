"""Dashboards, widgets, and what device tokens are made from."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
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
        "dashboards",
        _text("id"),
        _text("account"),
        _text("name"),
        _text("description"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "widgets",
        _text("id"),
        _text("dashboard"),
        _text("account"),
        _text("device"),
        _text("type"),
        _text("label"),
        _json("config"),
        _number("created_at"),
        _json("value"),
        _number("width"),
        _number("height"),
        _number("position"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table("token_salts", _text("id"), _text("salt"), sa.PrimaryKeyConstraint("id"))
