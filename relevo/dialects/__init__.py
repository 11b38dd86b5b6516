"""The contracts, one module each. A module belongs to the product by lying here; there is no list to edit."""

import importlib
import pkgutil
from collections.abc import Mapping
from itertools import combinations, product
from typing import Any

from relevo.dialect import Dialect
from relevo.errors import ConfigurationError
from relevo.wire.topics import meeting


def load(options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Dialect]:
    """Every dialect by the name of its contract.

    ``options`` holds settings by contract. A module that takes settings has a function ``configure(mapping)``; it picks
    the names it knows and raises :class:`relevo.errors.Invalid` for values that cannot work.

    Raises :class:`relevo.errors.ConfigurationError` when two contracts would read the same topic: whose it were would
    be chance (contracts, "MQTT topic roots").
    """
    found: dict[str, Dialect] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        dialect: Dialect = module.dialect
        if options and dialect.name in options:
            dialect = module.configure(options[dialect.name])
        found[dialect.name] = dialect
    for one, other in combinations(found.values(), 2):
        _keep_apart(one, other)
    return found


def holder(found: Mapping[str, Dialect], filter_: str, besides: str) -> str:
    """The contract that has a topic under ``filter_`` as well, empty for none but ``besides``."""
    return next(
        (
            dialect.name
            for dialect in found.values()
            if dialect.name != besides and any(meeting(filter_, one) is not None for one in _filters(dialect))
        ),
        "",
    )


def _keep_apart(one: Dialect, other: Dialect) -> None:
    for a, b in product(_filters(one), _filters(other)):
        topic = meeting(a, b)
        if topic is not None:
            raise ConfigurationError(
                f"contracts {one.name} and {other.name} would both have the topic {topic}: it falls under {a} and "
                f"{b}; change the topic settings of one of them (hidrometro.topic_…, autocore.topic_prefix)"
            )


def _filters(dialect: Dialect) -> list[str]:
    """Every filter of the contract: what it reads, and what its devices may use."""
    return sorted(set(dialect.all_filters()).union(*dialect.device_filters("+")))
