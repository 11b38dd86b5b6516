"""One request of a webhook: signed, sent, and what came of it in words.

Signatures are those of Standard Webhooks (https://www.standardwebhooks.com, version 1.0.0), beside them the one of the
thingsnxt contract.
"""

import email.utils
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from relevo import __version__
from relevo.clock import Clock
from relevo.domain.deliveries import Attempt
from relevo.domain.webhooks import Webhook, hexadecimal_signature, salts_of
from relevo.errors import Invalid
from relevo.outbound import Answer, Unreachable
from relevo.redaction import redact

_WAITS: Final = frozenset({429, 503})
GONE: Final = 410


class Client(Protocol):
    """What sends; see :class:`relevo.outbound.Outbound`."""

    async def post(
        self, url: str, headers: list[tuple[str, str]], body: bytes, allow_private: bool = False
    ) -> Answer: ...

    async def close(self) -> None: ...


class WebhookSender:
    """``secret(webhook id, salt)`` gives a signing secret."""

    def __init__(self, client: Client, secret: Callable[[str, str], str], clock: Clock) -> None:
        self._client = client
        self.secret = secret
        self._clock = clock

    async def send(self, webhook: Webhook, message_id: str, body: str) -> Attempt:
        """One attempt; never raises for what the receiver, the network or the address did."""
        now = self._clock.now_ms()
        try:
            answer = await self._client.post(
                webhook.url, self.headers(webhook, message_id, body, now), body.encode(), webhook.allow_private
            )
        except Invalid as refusal:
            return Attempt(0, str(refusal))
        except Unreachable as trouble:
            return Attempt(0, str(trouble))
        said = redact(answer.body.decode(errors="replace").replace("\0", ""))
        if 200 <= answer.status < 300:
            return Attempt(answer.status, "", said)
        if 300 <= answer.status < 400:
            return Attempt(answer.status, f"answered {answer.status}; redirects are not followed", said)
        wait = retry_after(answer.headers.get("retry-after", ""), now) if answer.status in _WAITS else 0
        return Attempt(answer.status, f"answered {answer.status}", said, wait)

    async def close(self) -> None:
        await self._client.close()

    def headers(self, webhook: Webhook, message_id: str, body: str, now: int) -> list[tuple[str, str]]:
        """All headers of a request made at ``now`` (milliseconds UTC)."""
        # Whoever has no webhook does not pay for it.
        from standardwebhooks import Webhook as Signer

        secrets = [self.secret(webhook.id, salt) for salt in salts_of(webhook, now)]
        at = datetime.fromtimestamp(now // 1000, UTC)
        return [
            *webhook.headers.items(),
            ("Content-Type", "application/json"),
            ("User-Agent", f"Relevo/{__version__}"),
            ("webhook-id", message_id),
            ("webhook-timestamp", str(now // 1000)),
            ("webhook-signature", " ".join(Signer(one).sign(message_id, at, body) for one in secrets)),
            ("X-Webhook-Signature", hexadecimal_signature(secrets[0], body.encode())),
        ]


def retry_after(text: str, now: int) -> int:
    """Milliseconds from ``now`` (milliseconds UTC) in a ``Retry-After`` (RFC 9110, section 10.2.3); 0 for none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1000
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0
    return max(0, round(when.timestamp() * 1000) - now)
