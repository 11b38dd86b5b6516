"""What people want of the interface, tariffs of water, and a short way to commands that went wrong."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _float(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "preferences",
        _text("id"),
        _text("language"),
        _text("theme"),
        _json("favourites"),
        _json("home"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "tariffs",
        _text("id"),
        _text("name"),
        _text("currency"),
        _float("base"),
        _json("steps"),
        _float("taxes_percent"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.rename_table("customers", "customers_before")
    op.create_table(
        "customers",
        _text("id"),
        _text("name"),
        _number("created_at"),
        _text("contact"),
        _float("price"),
        _text("currency"),
        _text("tariff"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute("INSERT INTO customers SELECT id, name, created_at, contact, price, currency, '' FROM customers_before")
    op.drop_table("customers_before")
    op.create_index(
        "commands_wrong",
        "commands",
        ["ended_at", "device"],
        sqlite_where=sa.text("state NOT IN ('queued', 'sent', 'confirmed', 'cancelled')"),
    )
