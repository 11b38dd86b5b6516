"""The contracts, one module each. A module belongs to the product by lying here; there is no list to edit."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from relevo.dialect import Dialect


def load(options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Dialect]:
    """Every dialect by the name of its contract.

    ``options`` holds settings by contract. A module that takes settings has a function ``configure(mapping)``; it picks
    the names it knows and raises :class:`relevo.errors.Invalid` for values that cannot work.
    """
    found: dict[str, Dialect] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        dialect: Dialect = module.dialect
        if options and dialect.name in options:
            dialect = module.configure(options[dialect.name])
        found[dialect.name] = dialect
    return found
