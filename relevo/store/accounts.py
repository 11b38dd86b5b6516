"""People who sign in, and the secrets of this installation."""

from sqlalchemy import BigInteger, Boolean, Column, Connection, LargeBinary, Table, Text, false, insert, select

from relevo.store.db import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("email", Text, nullable=False, server_default=""),
    Column("full_name", Text, nullable=False, server_default=""),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("password_changed_at", BigInteger, nullable=False, server_default="0"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


def secret(core: Connection, name: str, fresh: bytes) -> bytes:
    """The secret called ``name``; ``fresh`` becomes it when there is none yet."""
    row = core.execute(select(secrets.c.value).where(secrets.c.name == name)).first()
    if row is not None:
        return bytes(row.value)
    core.execute(insert(secrets).values(name=name, value=fresh))
    return fresh
