"""What an error answer of the native API looks like (RFC 9457)."""

from typing import Any

import httpx


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an error answer, after everything that all of them share was checked."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert set(body) <= {"type", "title", "status", "detail", "reason", "errors"}
    for error in body.get("errors", []):
        assert set(error) == {"field", "message", "reason"}
        assert error["message"]
    return body


def fields(answer: httpx.Response, status: int = 422) -> list[str]:
    """The fields that were refused."""
    return [error["field"] for error in problem(answer, status)["errors"]]
