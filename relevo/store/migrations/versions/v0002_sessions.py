"""MQTT sessions, deliveries, QoS 2 identifiers and retained messages."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mqtt_sessions",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("subscriptions", sa.JSON(), nullable=False),
        sa.Column("away_since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id"),
    )
    op.create_table(
        "mqtt_deliveries",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "n"),
    )
    op.create_table(
        "mqtt_incoming",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("packet_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "packet_id"),
    )
    op.create_table(
        "mqtt_retained",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("topic"),
    )
