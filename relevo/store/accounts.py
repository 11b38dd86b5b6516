"""People who sign in, and the secrets of this installation."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Table, Text, insert, select

from relevo.store.db import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


class Account(NamedTuple):
    """One person; ``role`` is administrator, operator or viewer."""

    name: str
    role: str
    password_hash: str


def load(core: Connection) -> dict[str, Account]:
    """All accounts by name."""
    return {
        row.name: Account(row.name, row.role, row.password_hash)
        for row in core.execute(select(accounts.c.name, accounts.c.role, accounts.c.password_hash))
    }


def add(core: Connection, account: Account, at: int) -> None:
    core.execute(insert(accounts).values(created_at=at, **account._asdict()))


def secret(core: Connection, name: str, fresh: bytes) -> bytes:
    """The secret called ``name``; ``fresh`` becomes it when there is none yet."""
    row = core.execute(select(secrets.c.value).where(secrets.c.name == name)).first()
    if row is not None:
        return bytes(row.value)
    core.execute(insert(secrets).values(name=name, value=fresh))
    return fresh
