"""Actions: what happens when something is due, as documents that schedules and rules keep.

``{"command": {"device": ID, "name": NAME, "params": {…}, "ttl": SECONDS}}`` or ``{"desired": {"device": ID, "values":
{…}}}``, where ``null`` takes a key away; both with ``"selection": {…}`` of ``devices``, ``tags``, ``type`` and ``site``
in the place of ``device``. Whether the devices exist, know the command and may be
controlled is asked when it happens.
"""

from typing import Any, Final, NamedTuple

from relevo.domain.bulk import Selection
from relevo.domain.commands import NAME_LIMIT, PARAMS_MOST, TTL_LEAST_S, TTL_MOST_S
from relevo.domain.devices import ID_PATTERN
from relevo.domain.telemetry import check_value
from relevo.domain.twins import check_document
from relevo.errors import FieldError, Invalid

COMMAND: Final = "command"
DESIRED: Final = "desired"
DESIRED_KEYS: Final = frozenset({"device", "selection", "values"})
KEYS: Final = frozenset({"device", "selection", "name", "params", "ttl"})
SELECTION_KEYS: Final = frozenset({"devices", "tags", "type", "site"})
# More are better chosen by a tag.
NAMED_MOST: Final = 256


class Order(NamedTuple):
    """What a checked action says, and whom it means: a command, or ``values`` that are desired.

    ``ttl_s`` in seconds, ``None`` for the setting's.
    """

    selection: Selection
    name: str
    params: dict[str, Any]
    ttl_s: float | None
    values: dict[str, Any] | None = None


def order_of(action: dict[str, Any]) -> Order:
    """What a checked action says."""
    ((kind, command),) = action.items()
    device = command.get("device", "")
    given: dict[str, Any] = {"devices": [device]} if device else command["selection"]
    selection = Selection(
        tuple(given.get("devices", ())), tuple(given.get("tags", ())), given.get("type", ""), given.get("site", "")
    )
    if kind == DESIRED:
        return Order(selection, "", {}, None, command["values"])
    return Order(selection, command["name"], command.get("params", {}), command.get("ttl"))


def check_action(action: Any, field: str = "action") -> list[FieldError]:
    """What is wrong with the shape of an action; never raises."""
    if not isinstance(action, dict) or len(action) != 1 or (kind := next(iter(action))) not in (COMMAND, DESIRED):
        return [FieldError(field, 'must be {"command": {…}} or {"desired": {…}}')]
    command, field = action[kind], f"{field}.{kind}"
    if not isinstance(command, dict):
        return [FieldError(field, "must be an object")]
    known = KEYS if kind == COMMAND else DESIRED_KEYS
    wrong = [_unknown(field, key, known) for key in command if key not in known]
    if ("device" in command) == ("selection" in command):
        wrong.append(FieldError(field, "needs either device or selection"))
    elif "device" in command:
        if not _is_id(command["device"]):
            wrong.append(_id_wrong(f"{field}.device"))
    else:
        wrong += _check_selection(command["selection"], f"{field}.selection")
    if kind == DESIRED:
        return wrong + _check_desired(command.get("values"), f"{field}.values")
    problem = order_problem(command.get("name", ""), command.get("params", {}), command.get("ttl"))
    if problem is not None:
        reason, name, message = problem
        wrong.append(FieldError(f"{field}.{name}", message, reason))
    return wrong


def order_problem(name: Any, params: Any, ttl_s: Any) -> tuple[str, str, str] | None:
    """Why this cannot be the name, parameters and time to live (seconds, ``None`` for the setting's) of any command.

    Reason, field and message; ``None`` when it can.
    """
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        return "name_invalid", "name", f"must be 1 to {NAME_LIMIT} printable characters"
    if not isinstance(params, dict):
        return "params_invalid", "params", "must be an object"
    if len(params) > PARAMS_MOST:
        return "params_invalid", "params", f"must have at most {PARAMS_MOST} entries"
    problem = check_value(params) if params else None
    if problem is not None:
        return problem[0], "params", problem[1]
    if ttl_s is not None and not (_is_number(ttl_s) and TTL_LEAST_S <= ttl_s <= TTL_MOST_S):
        return "ttl_invalid", "ttl", f"must be {TTL_LEAST_S:g} to {TTL_MOST_S:.0f} seconds"
    return None


def _check_desired(values: Any, field: str) -> list[FieldError]:
    if not isinstance(values, dict) or not values or not all(isinstance(key, str) for key in values):
        return [FieldError(field, "must be an object that names what is desired")]
    try:
        check_document({key: value for key, value in values.items() if value is not None})
    except Invalid as problem:
        return [
            FieldError(f"{field}{one.field.removeprefix('values')}", one.message, one.reason) for one in problem.errors
        ]
    return []


def _check_selection(selection: Any, field: str) -> list[FieldError]:
    if not isinstance(selection, dict):
        return [FieldError(field, "must be an object")]
    wrong = [_unknown(field, key, SELECTION_KEYS) for key in selection if key not in SELECTION_KEYS]
    for key in ("devices", "tags"):
        given = selection.get(key, [])
        where = f"{field}.{key}"
        if not isinstance(given, list) or not all(isinstance(one, str) and one for one in given):
            wrong.append(FieldError(where, "must be a list of texts"))
        elif len(given) > NAMED_MOST:
            wrong.append(FieldError(where, f"names {len(given)}, the limit is {NAMED_MOST}"))
        elif key == "devices" and not all(_is_id(one) for one in given):
            wrong.append(_id_wrong(where))
    for key in ("type", "site"):
        where = f"{field}.{key}"
        if not isinstance(selection.get(key, ""), str):
            wrong.append(FieldError(where, "must be a text"))
    if not any(selection.get(key) for key in SELECTION_KEYS):
        wrong.append(FieldError(field, "needs devices, tags, type or site"))
    return wrong


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and ID_PATTERN.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _id_wrong(field: str) -> FieldError:
    return FieldError(field, "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -", "id_invalid")


def _unknown(field: str, key: Any, known: frozenset[str]) -> FieldError:
    shown = str(key)[:32]
    return FieldError(f"{field}.{shown}", f"is not known, only {', '.join(sorted(known))}")
