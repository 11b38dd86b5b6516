"""Lists as the contract's clients know them: pages of 50, searched, ordered and filtered (section 4)."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from relevo.errors import NotFound
from relevo.http.emqx.fields import refused, switch, whole

PAGE: Final = 50
_SIZE_MOST: Final = 1_000


def window(request: Request) -> tuple[int, int]:
    """Page, from 1, and its size; page 0 is the last one. Raises :class:`NotFound` for what is no page."""
    text = request.query_params.get("page", "1")
    size = whole(request.query_params.get("page_size", "")) or PAGE
    size = min(size, _SIZE_MOST) if size > 0 else PAGE
    if text == "last":
        return 0, size
    page = whole(text)
    if page is None or page < 1:
        raise NotFound("Página inválida.")
    return page, size


def envelope(request: Request, total: int, page: int, size: int, shown: list[Any]) -> dict[str, Any]:
    """One page. Raises :class:`NotFound` when there is none of this number."""
    pages = max(1, -(-total // size))
    if page > pages:
        raise NotFound("Página inválida.")
    return {
        "count": total,
        "next": _address(request, page + 1) if page < pages else None,
        "previous": _address(request, page - 1) if page > 1 else None,
        "results": shown,
    }


def paged(request: Request, found: Sequence[Any], render: Callable[[Any], Any]) -> dict[str, Any]:
    """The page of ``found`` that was asked for."""
    page, size = window(request)
    page = page or max(1, -(-len(found) // size))
    shown = found[(page - 1) * size : page * size]
    return envelope(request, len(found), page, size, [render(one) for one in shown])


def searched(request: Request, found: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Those in which every word of ``?search=`` stands in one of the fields ``names``."""
    words = request.query_params.get("search", "")[:256].casefold().split()
    if not words:
        return found
    return [one for one in found if all(any(word in str(one.get(n)).casefold() for n in names) for word in words)]


def ordered(request: Request, found: list[dict[str, Any]], names: Sequence[str], usual: str) -> list[dict[str, Any]]:
    """In the order of ``?ordering=a,-b``, of fields that there are; else by ``usual``."""
    wanted = [one for one in asked_order(request) if one.lstrip("-") in names] or [usual]
    for one in reversed(wanted):
        name = one.lstrip("-")
        found = sorted(found, key=lambda item: _key(item.get(name)), reverse=one.startswith("-"))
    return found


def asked_order(request: Request) -> list[str]:
    return [one.strip() for one in request.query_params.get("ordering", "")[:256].split(",") if one.strip()]


def number_asked(request: Request, name: str) -> int | None:
    """A whole number of the query, ``None`` when it is not there. Raises :class:`Invalid`."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    value = whole(text)
    if value is None:
        raise refused(name, "Se requiere un número entero válido.")
    return value


def switch_asked(request: Request, name: str) -> bool:
    """Whether a switch of the query is on."""
    return switch(request.query_params.get(name, "")) is True


def _key(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    if isinstance(value, bool | int | float):
        return 1, value
    return 2, str(value).casefold()


def _address(request: Request, page: int) -> str:
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "page"]
    if page > 1:
        query.append(("page", str(page)))
    base = str(request.url).partition("?")[0]
    return f"{base}?{urlencode(query)}" if query else base
