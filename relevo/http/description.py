"""Completing the OpenAPI description: the errors that every route shares, and which methods a path knows."""

import re
from collections.abc import Sequence
from typing import Any, Final

from relevo.http.errors import style_of
from relevo.http.needs import NEEDS

_WRITES: Final = frozenset({"post", "put", "patch", "delete"})
_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "Problem": {
        "title": "Problem",
        "description": "An error (RFC 9457). `errors` names every field that was refused.",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "reason": {"type": "string", "description": "A stable code, see the reference page."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "message", "reason"],
                    "properties": {name: {"type": "string"} for name in ("field", "message", "reason")},
                },
            },
        },
    },
    "ContractError": {
        "title": "ContractError",
        "description": "An error in the words of a contract.",
        "type": "object",
        "properties": {
            "error": {"type": "string"},
            "detail": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        },
    },
}


OBJECT_BODY: Final[dict[str, Any]] = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}
"""``openapi_extra`` of a route that reads its body itself: an object, whose fields its contract names."""


def json_body(properties: dict[str, Any], required: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """``openapi_extra`` of a route that reads its body itself: an object with these JSON schemas; ``more`` is said of
    it as a whole."""
    schema = {"type": "object", "properties": properties, **({"required": list(required)} if required else {}), **more}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def complete(description: dict[str, Any]) -> None:
    """Add to every operation the errors it may answer with, in the form of the contract its path belongs to."""
    components = description.setdefault("components", {}).setdefault("schemas", {})
    components.update(_SCHEMAS)
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    for path, item in description["paths"].items():
        native = style_of(path) == "native"
        media, schema = ("application/problem+json", "Problem") if native else ("application/json", "ContractError")
        content = {media: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        for method, operation in item.items():
            for status, words in _errors(path, method, operation).items():
                operation["responses"][status] = {"description": words, "content": content}


def _errors(path: str, method: str, operation: dict[str, Any]) -> dict[str, str]:
    found = {"421": "Asked under a name that is not this server's", "429": "Too many requests; see `Retry-After`"}
    if path == "/healthz":
        return found
    if operation[NEEDS] != "everybody":
        found |= {"401": "No credential, or one that proves nothing", "403": "A credential that does not allow this"}
    if path.endswith(("/auth/login", "/auth/refresh", "/api/login")):
        found["401"] = "Wrong name or password, or a token that proves nothing"
    if path.endswith(("/auth/login", "/auth/logout")):
        found["403"] = "A request from a foreign page"
    if "{" in path or any(one.get("name") == "devices" for one in operation.get("parameters", ())):
        found["404"] = "There is none, or none that the one who asks may know of"
    if operation.get("parameters") or method in ("post", "put", "patch"):
        found["422"] = "A field that breaks a rule; `errors` names it"
        found["400"] = "No JSON, or a limit that is no number"
    if method in _WRITES:
        found |= {
            "404": "Something that the request names does not exist",
            "408": "The request did not arrive in time",
            "409": "It exists already, or somebody else's it is",
            "413": "The body is too large",
            "503": "The store cannot take it now; see `Retry-After`",
        }
    return found


class Methods:
    """Which methods a path knows, over all routes that share it (RFC 9110, section 10.2.1)."""

    def __init__(self, description: dict[str, Any]) -> None:
        # Literal segments before templates, as the router has it.
        self._known = [
            (
                re.compile(re.sub(r"\\\{\w+(:\w+)?\\\}", "[^/]+", re.escape(path))),
                sorted(method.upper() for method in item),
            )
            for path, item in sorted(description["paths"].items(), key=lambda entry: entry[0].count("{"))
        ]

    def of(self, path: str) -> list[str]:
        """Sorted names, empty for a path that is not described."""
        return next((methods for pattern, methods in self._known if pattern.fullmatch(path)), [])


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+(:\w+)?\\\}", "[^/]+", re.escape(path)))
