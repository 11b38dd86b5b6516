"""People, their sessions, keys and grants; device credentials, claim codes, screenings; the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    op.add_column("devices", sa.Column("owner", sa.Text(), nullable=False, server_default=""))
    op.add_column("devices", sa.Column("site", sa.Text(), nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("email", sa.Text(), nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("full_name", sa.Text(), nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("accounts", sa.Column("password_changed_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "sign_ins",
        _text("id"),
        _text("account"),
        _text("kind"),
        _text("secret_hash"),
        _text("spent_hash"),
        _time("created_at"),
        _time("used_at"),
        _time("expires_at"),
        _text("address"),
        _text("agent"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "api_keys",
        _text("id"),
        _text("account"),
        _text("name"),
        _text("secret_hash"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        _time("created_at"),
        _time("expires_at"),
        _time("used_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "grants",
        _text("id"),
        _text("account"),
        _text("scope"),
        _text("value"),
        _text("level"),
        _text("by"),
        _time("at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "credentials",
        _text("id"),
        _text("device"),
        _text("kind"),
        _text("secret_hash"),
        _time("created_at"),
        _time("expires_at"),
        _text("username"),
        _text("label"),
        _text("by"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("credentials_device", "credentials", ["device"])
    op.create_table(
        "claim_codes",
        _text("id"),
        _text("contract"),
        _text("external_id"),
        _time("created_at"),
        _time("expires_at"),
        _text("by"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "screenings",
        _text("id"),
        _text("contract"),
        _text("external_id"),
        _text("standing"),
        _text("by"),
        _time("at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _time("at"),
        _text("by"),
        _text("action"),
        _text("target"),
        sa.Column("detail", sa.JSON(), nullable=False),
        _text("address"),
        _text("outcome"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_at", "audit", ["at"])
