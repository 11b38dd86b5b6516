"""For how long readings are kept, and how much of the file was in use."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "type", "key")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("raw_days", "hours_days", "days_days")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "sizes",
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("at"),
    )
