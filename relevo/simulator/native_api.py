"""What enrolling and steering need of Relevo's own HTTP interface."""

from relevo.simulator.http_client import HttpClient, HttpFailed


async def claimed(http: HttpClient, contract: str, external_id: str) -> str:
    """Claim a device; its id in the registry. Raises :class:`HttpFailed` when the server declines."""
    request = {"contract": contract, "external_id": external_id, "name": external_id}
    return registry_id((await http.post("/api/v1/claims", request)).expect(200, 201))


async def found(http: HttpClient, contract: str, external_id: str) -> str:
    """The registry id of a device that exists. Raises :class:`HttpFailed` when it does not."""
    page = (await http.get("/api/v1/devices", {"search": external_id, "contract": contract})).expect(200)
    for one in page["items"]:
        if one["external_id"] == external_id and one["contract"] == contract:
            return str(one["id"])
    raise HttpFailed(f"no device {external_id!r} of contract {contract}")


async def pairing_opened(http: HttpClient, minutes: int = 10) -> bool:
    """Let devices register themselves for a while; whether that was closed before."""
    before = (await http.get("/api/v1/pairing")).expect(200)
    if before["open"]:
        return False
    (await http.post("/api/v1/pairing", {"minutes": minutes})).expect(200, 201)
    return True


async def pairing_closed(http: HttpClient) -> None:
    """Close it again."""
    (await http.delete("/api/v1/pairing")).expect(204)


def registry_id(body: object) -> str:
    """The device's id in the answer to a claim. Raises :class:`HttpFailed` when there is none."""
    if isinstance(body, dict):
        inner = body.get("device", body)
        found = inner.get("id") if isinstance(inner, dict) else inner
        if isinstance(found, str):
            return found
    raise HttpFailed(f"no device id in the answer to a claim: {body!r}")
