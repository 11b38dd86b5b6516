"""Tariffs of water: a basic charge, steps of consumption with a price each, and taxes on both.

Theory. Steps are bands: the first cubic metres cost the first price, those beyond it the second, and so on; what is
beyond the last step's end costs the last price. A step without an end is the last. Prices are in the currency's units
for a cubic metre, and amounts are rounded to the hundredth, once for the charge and once for the taxes.
"""

import re
from typing import Final, NamedTuple

import msgspec

from relevo.domain.customers import LITRES_IN_M3, PRICE_MOST
from relevo.errors import FieldError, Invalid

NAME_LIMIT: Final = 128
STEPS_MOST: Final = 20
TARIFFS_MOST: Final = 100
VOLUME_MOST: Final = 1_000_000.0
ATTRIBUTE: Final = "tariff"
"""Attribute of a device that names its tariff, before the one of its customer."""
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)


class Step(msgspec.Struct, frozen=True):
    """Water up to ``up_to_m3`` cubic metres of a month (``None``: all the rest) costs ``price`` for each."""

    up_to_m3: float | None
    price: float


class Tariff(msgspec.Struct, frozen=True):
    """``base`` is charged each month, ``taxes_percent`` on everything."""

    id: str
    name: str
    currency: str
    base: float
    steps: list[Step]
    taxes_percent: float = 0.0


class Bill(NamedTuple):
    """What a month costs; ``water`` is by steps, ``total`` with the basic charge and taxes."""

    base: float
    water: float
    taxes: float
    total: float


def bill(litres: float, tariff: Tariff) -> Bill:
    """What ``litres`` in a month cost."""
    left = max(litres, 0.0) / LITRES_IN_M3
    before, water, price = 0.0, 0.0, 0.0
    for step in tariff.steps:
        price = step.price
        room = left if step.up_to_m3 is None else min(left, step.up_to_m3 - before)
        water += room * price
        left -= room
        if step.up_to_m3 is None or left <= 0:
            break
        before = step.up_to_m3
    water = round(water + max(left, 0.0) * price + 0.0, 2)
    taxes = round((tariff.base + water) * tariff.taxes_percent / 100, 2)
    return Bill(tariff.base, water, taxes, round(tariff.base + water + taxes, 2))


def check_tariff(tariff: Tariff, field: str = "") -> None:
    """Raise :class:`Invalid` with an error for each field that is wrong; names begin with ``field``."""
    wrong: list[FieldError] = []

    def refuse(name: str, text: str) -> None:
        wrong.append(FieldError(f"{field}{name}", text, "tariff_invalid"))

    if not _ID.fullmatch(tariff.id):
        refuse("id", "must be 1 to 64 characters of A-Z a-z 0-9 _ . -")
    if not 0 < len(tariff.name.strip()) <= NAME_LIMIT or not tariff.name.isprintable():
        refuse("name", f"must be 1 to {NAME_LIMIT} printable characters")
    if not _CURRENCY.fullmatch(tariff.currency):
        refuse("currency", "must be three capital letters such as BRL")
    if not 0 <= tariff.base <= PRICE_MOST:
        refuse("base", f"must be 0 to {PRICE_MOST:g}")
    if not 0 <= tariff.taxes_percent <= 100:
        refuse("taxes_percent", "must be 0 to 100")
    if not 1 <= len(tariff.steps) <= STEPS_MOST:
        refuse("steps", f"must be 1 to {STEPS_MOST}")
    before = 0.0
    for n, step in enumerate(tariff.steps[:STEPS_MOST]):
        if not 0 <= step.price <= PRICE_MOST:
            refuse(f"steps.{n}.price", f"must be 0 to {PRICE_MOST:g}")
        if step.up_to_m3 is None:
            if n < len(tariff.steps) - 1:
                refuse(f"steps.{n}.up_to_m3", "may be left out in the last step alone")
        elif not before < step.up_to_m3 <= VOLUME_MOST:
            refuse(f"steps.{n}.up_to_m3", f"must be more than {before:g} and at most {VOLUME_MOST:g}")
        else:
            before = step.up_to_m3
    if wrong:
        raise Invalid("tariff_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)
