"""Boards of the interface, their templates, walls that show them, and pictures on them."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _times(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "boards",
        *_text("id", "owner", "name"),
        *_times("version"),
        sa.Column("widgets", sa.JSON(), nullable=False),
        sa.Column("shared", sa.JSON(), nullable=False),
        *_times("created_at", "changed_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "board_templates",
        *_text("id", "name"),
        sa.Column("widgets", sa.JSON(), nullable=False),
        *_text("by"),
        *_times("changed_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "walls",
        *_text("id", "board", "account", "name", "secret_hash"),
        *_times("created_at", "expires_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "pictures",
        *_text("id", "account", "type"),
        *_times("size", "width", "height", "created_at"),
        sa.PrimaryKeyConstraint("id"),
    )
