"""Every message in ``tests/vectors/<contract>/*.json`` becomes what is written beside it.

A vector has ``name``, ``topic``, ``payload`` (or ``payload_base64``), ``received_ms``, perhaps ``retained``, and either
``refusal`` (the reason) or ``events`` (all fields that differ from their defaults; ``device`` is the external identity,
``is`` the kind), ``refused`` and ``notices`` (pairs of identity and code). ``foreign`` marks a topic of no contract.
"""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relevo.dialects import load
from relevo.domain.events import AnyEvent
from relevo.errors import Invalid

VECTORS = Path(__file__).parents[1] / "vectors"
DIALECTS = load()


def collect() -> list[Any]:
    return [
        pytest.param(path.parent.name, vector, id=f"{path.parent.name}-{path.stem}-{vector['name'][:60]}")
        for path in sorted(VECTORS.glob("*/*.json"))
        if path.parent.name in DIALECTS
        for vector in json.loads(path.read_text("utf-8"))
    ]


def shown(external_id: str, event: AnyEvent) -> dict[str, Any]:
    assert event.device == ""  # type: ignore[union-attr]
    fields = msgspec.structs.fields(event)
    changed = {f.name: getattr(event, f.name) for f in fields if getattr(event, f.name) != f.default}
    return changed | {"device": external_id, "is": type(event).__name__}


@pytest.mark.parametrize(("contract", "vector"), collect())
def test_a_message_means_what_the_vector_says(contract: str, vector: dict[str, Any]) -> None:
    dialect = DIALECTS[contract]
    address = dialect.address(vector["topic"])
    if vector.get("foreign"):
        assert address is None
        return
    assert address is not None
    assert address.contract == contract
    payload = base64.b64decode(vector["payload_base64"]) if "payload_base64" in vector else vector["payload"].encode()
    try:
        decoded = dialect.decode(address, payload, vector["received_ms"], vector.get("retained", False))
    except Invalid as problem:
        assert problem.reason == vector.get("refusal"), problem.message
        return
    assert "refusal" not in vector
    assert repr([shown(*pair) for pair in decoded.events]) == repr(
        [shown_again(expected, event) for expected, (_, event) in zip(vector["events"], decoded.events, strict=True)]
    )
    assert [[device, problem.reason] for device, problem in decoded.refused] == vector.get("refused", [])
    assert [[device, kind] for device, kind, _ in decoded.notices] == vector.get("notices", [])


def shown_again(expected: dict[str, Any], event: AnyEvent) -> dict[str, Any]:
    """``expected`` in the order in which :func:`shown` puts its fields, so that types are compared by ``repr``."""
    order = [f.name for f in msgspec.structs.fields(event)]
    named = {name: expected[name] for name in order if name in expected}
    assert set(expected) == {*named, "is"}
    return named | {"is": expected["is"]}


def test_every_contract_has_vectors() -> None:
    assert {path.parent.name for path in VECTORS.glob("*/*.json")} >= set(DIALECTS)
