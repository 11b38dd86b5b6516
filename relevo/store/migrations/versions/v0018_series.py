"""Series, their chunks, and how far the journal is in them."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    # The tail of the journal is found by its numbers, and everything before it is in chunks.
    op.drop_index("journal_time", "journal")
    op.create_table(
        "series",
        _integer("id"),
        _integer("device"),
        _text("key"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("device", "key", name="uq_series"),
    )
    op.create_table("times", _integer("id"), _integer("used"), _bytes("data"), sa.PrimaryKeyConstraint("id"))
    op.create_table(
        "chunks",
        _integer("id"),
        _integer("series"),
        _number("t0"),
        _number("seq"),
        _number("t1"),
        _integer("n"),
        _integer("times"),
        _bytes("data"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("chunks_series", "chunks", ["series", "t0"])
    op.create_table(
        "erasures",
        _integer("id"),
        _integer("device"),
        _text("key"),
        _number("t0"),
        _number("t1"),
        _number("seq"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("erasures_device", "erasures", ["device"])
    op.create_table(
        "compaction",
        _integer("id"),
        _number("low"),
        _number("high"),
        _integer("through"),
        sa.PrimaryKeyConstraint("id"),
    )
