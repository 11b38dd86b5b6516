"""``POST /api/v1/devices/{id}/credentials/certificates``: certificates of this installation's own authority."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.authority import CSR_BYTES, DEVICE_DAYS, DEVICE_DAYS_MOST, Issued
from relevo.errors import ConfigurationError, Conflict
from relevo.http.api.credentials import CredentialOut, check_room, keep, new_credential
from relevo.http.needs import Owns
from relevo.http.services import Wired

router = APIRouter(prefix="/api/v1", tags=["credentials"])


class CertificateCreated(CredentialOut):
    """PEM texts. ``private_key`` is in this answer alone, and null when the device made its own."""

    certificate: str
    private_key: str | None
    authority: str


class NewCertificate(BaseModel):
    """With ``csr`` (PKCS#10 in PEM) the device keeps its own private key, otherwise one is generated."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(default="", max_length=128)
    days: int = Field(default=DEVICE_DAYS, ge=1, le=DEVICE_DAYS_MOST)
    csr: str | None = Field(default=None, max_length=CSR_BYTES)


@router.post("/devices/{device_id}/credentials/certificates", status_code=201, response_model=CertificateCreated)
async def create_certificate(
    request: Request, wired: Wired, held: Owns, body: NewCertificate, response: Response
) -> dict[str, Any]:
    """A client certificate of this installation's authority for MQTT over TLS; its common name is the device id."""
    check_room(wired, held.device)
    authority, device, now = wired.authority, held.device.id, wired.clock.now_ms()
    if not authority.exists:
        raise Conflict("there is no authority here yet: make one with `relevo ca init`")

    def work() -> tuple[Issued, str]:
        if body.csr is None:
            issued = authority.issue(device, body.days, now)
        else:
            issued = authority.sign(device, body.csr, body.days, now)
        return issued, authority.describe().pem

    try:
        issued, pem = await asyncio.to_thread(work)
    except ConfigurationError as error:
        raise Conflict(str(error)) from None
    one = new_credential(held, "certificate", issued.fingerprint, now, body.label, issued.expires_at)
    detail = {"kind": "certificate", "fingerprint": issued.fingerprint}
    return await keep(request, wired, held, one, response, detail) | {
        "certificate": issued.certificate,
        "private_key": issued.key or None,
        "authority": pem,
    }
