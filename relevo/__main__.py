"""Where the program starts, and what it leaves out.

Libraries load parts for purposes that nobody has here, because they find them installed. Some of them weigh megabytes
in a server that runs for months, so they are declared absent, or empty, before the first library is imported. This is
done for this process alone: whoever imports Relevo from elsewhere gets everything as it is.
"""

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, TypeVar

T = TypeVar("T")

SERVING: Final = (["serve"], ["demo"])
_ABSENT: Final = (
    # SQLAlchemy's and structlog's support for greenlets, with the runtime of C++ that it needs: 2.5 MB.
    "greenlet",
    # FastAPI asks of each type whether it is one of Pydantic's former version: 2 MB.
    "pydantic.v1",
)


def _leave_out() -> None:
    for name in _ABSENT:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    # uvicorn's own command line and its supervisors of processes, with click and multiprocessing: 2 MB.
    commands: Any = ModuleType("uvicorn.main")
    commands.Server = commands.main = commands.run = None
    sys.modules.setdefault("uvicorn.main", commands)
    # PyJWT's fetching of keys over HTTP, with a client: 0.5 MB.
    fetching: Any = ModuleType("jwt.jwks_client")
    fetching.PyJWKClient = None
    sys.modules.setdefault("jwt.jwks_client", fetching)
    # The storages of limits for asyncio, and what wraps its functions to say in which version they came: 1 MB.
    sys.modules.setdefault("limits.aio", ModuleType("limits.aio"))
    saying: Any = ModuleType("deprecated.sphinx")
    saying.versionadded = saying.versionchanged = saying.deprecated = _as_it_is
    sys.modules.setdefault("deprecated.sphinx", saying)
    sys.modules.setdefault("deprecated", ModuleType("deprecated"))


def _as_it_is(*_: object, **__: object) -> Callable[[T], T]:
    return lambda one: one


def _put_off() -> None:
    """Models compile their validators with their first use and not with their definition: 3 MB and 0.1 s of the start.

    Most are FastAPI's own, for the OpenAPI description, and ours of routes that one installation never asks.
    """
    from pydantic import BaseModel
    from pydantic.warnings import UnsupportedFieldAttributeWarning

    BaseModel.model_config["defer_build"] = True
    # FastAPI silences it where it builds at once.
    warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)


def prepare() -> None:
    """Before anything else is imported: for this process, what is said above."""
    _leave_out()
    _put_off()


def main() -> None:
    """Entry point of the program ``relevo``."""
    prepare()
    if sys.argv[1:2] in SERVING:
        # A server carries none of the other commands: 1 MB.
        from relevo.cli_serving import app
    else:
        from relevo.cli import app
    app()


if __name__ == "__main__":
    main()
