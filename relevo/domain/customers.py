"""Customers of a water utility, and what their meters used in each month."""

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from relevo.errors import FieldError, Invalid

NAME_LIMIT: Final = 128
CONTACT_LIMIT: Final = 254
CUSTOMERS_MOST: Final = 100_000
PRICE_MOST: Final = 1_000_000.0
MONTHS_KEPT: Final = 36
LITRES_IN_M3: Final = 1_000
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)


class Customer(msgspec.Struct, frozen=True):
    """``id`` is a whole number as text, the contract's ``cliente_id``; ``price`` is for a cubic
    metre and holds where no ``tariff`` is named."""

    id: str
    name: str
    created_at: int
    contact: str = ""
    price: float = 0.0
    currency: str = "BRL"
    tariff: str = ""

    @property
    def number(self) -> int:
        return int(self.id)


class MeterMonth(msgspec.Struct, frozen=True):
    """What flowed through ``device`` in ``month`` (``2026-11``, by the clocks of the installation), litres.

    Everything up to the event with the number ``seq`` is in it. ``id`` is both names.
    """

    id: str
    device: str
    month: str
    litres: float
    seq: int


def check_customer(customer: Customer) -> None:
    """Raise :class:`Invalid` with an error for each field that is wrong."""
    wrong: list[FieldError] = []
    if not 0 < len(customer.name.strip()) <= NAME_LIMIT or not customer.name.isprintable():
        wrong.append(FieldError("name", f"must be 1 to {NAME_LIMIT} printable characters", "customer_invalid"))
    if len(customer.contact) > CONTACT_LIMIT or not customer.contact.isprintable():
        wrong.append(FieldError("contact", f"must be at most {CONTACT_LIMIT} characters", "customer_invalid"))
    if not 0 <= customer.price <= PRICE_MOST:
        wrong.append(FieldError("price", f"must be 0 to {PRICE_MOST:g}", "customer_invalid"))
    if not _CURRENCY.fullmatch(customer.currency):
        wrong.append(FieldError("currency", "must be three capital letters such as BRL", "customer_invalid"))
    if wrong:
        raise Invalid("customer_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)


def month_of(ms: int, zone: ZoneInfo) -> str:
    """The month in which ``ms`` (milliseconds UTC) lies by the clocks of ``zone``."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).strftime("%Y-%m")


def cost(litres: float, price: float) -> float:
    """What ``litres`` cost at ``price`` for a cubic metre, to the hundredth."""
    return round(litres / LITRES_IN_M3 * price + 0.0, 2)
