"""What a request to a customer's endpoint takes from the vault: its signing secret and its own headers.

They are open for the time of one attempt, and nothing of them gets into its record.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

import structlog

from core.audit.entry import Actor, ActorType
from core.audit.recorder import Recorder
from core.errors import IntegrityError
from core.vault.cipher import Cipher, SealedValue
from core.vault.redaction import Redactor
from core.vault.unreadable import WEBHOOK, WEBHOOK_HEADERS, Part, unreadable
from core.webhooks.delivery import Attempt, AttemptResult
from core.webhooks.delivery_queue import ClaimedDelivery
from core.webhooks.endpoint import secret_record
from core.webhooks.own_headers import credentials_in, open_headers
from core.webhooks.signature import signature_headers

_ACTOR = Actor("dispatcher", ActorType.SYSTEM)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Opened:
    """The values of one endpoint."""

    secret: str | None = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    url: str = field(default="", repr=False)

    def signed(self, event_id: str, moment: datetime, body: bytes) -> dict[str, str]:
        """The endpoint's own headers, with those that say which event this is and, where there is a secret, prove it.

        `moment` is the database's, as all times of a delivery are.
        """
        timestamp = int(moment.timestamp())
        if self.secret is None:
            return self.headers | {"webhook-id": event_id, "webhook-timestamp": str(timestamp)}
        return self.headers | signature_headers([self.secret], event_id, timestamp, body)

    def kept(self, attempt: Attempt) -> Attempt:
        """The attempt as it is kept: without what an endpoint may have sent back of the headers' values and of the
        URL's credentials. It may take a tenth of a second of its thread, once for each endpoint."""
        return self._masked(attempt).cut()

    def _masked(self, attempt: Attempt) -> Attempt:
        values = credentials_in(self.headers, self.url)
        longest = max(len(text) for text in (attempt.response_body, *attempt.response_headers.values(), ""))
        if not any(len(value) <= longest for value in values):
            # no form of a value is shorter than the value
            return attempt
        redactor = _redactor(values)
        shown = {name: redactor.text(value) for name, value in attempt.response_headers.items()}
        return replace(attempt, response_body=redactor.text(attempt.response_body), response_headers=shown)


@lru_cache(maxsize=128)
def _redactor(values: tuple[str, ...]) -> Redactor:
    return Redactor(values)


class EndpointVault:
    """Opens what endpoints have sealed. Blocks: a key may have to be unwrapped by a service far away."""

    def __init__(self, cipher: Cipher, recorder: Recorder) -> None:
        self._cipher = cipher
        self._recorder = recorder

    def open(self, claimed: ClaimedDelivery) -> Opened | Attempt:
        """The endpoint's values; or, where one does not open, the attempt that ends with that. Raises UnavailableError
        when nobody can tell now: that is no attempt."""
        part = WEBHOOK
        try:
            secret = self._secret(claimed)
            part = WEBHOOK_HEADERS
            endpoint = claimed.endpoint or {}
            headers = open_headers(self._cipher, claimed.scope.internal_id, endpoint)
            return Opened(secret, headers, endpoint.get("url", ""))
        except IntegrityError as error:
            log.error("delivery.not_signed", delivery_id=claimed.delivery_id, part=part.name, error=error.message)
            self._record_unreadable(claimed, part)
            return Attempt(AttemptResult.NOT_SENT, error=f"{part.name}_unreadable")

    def _secret(self, claimed: ClaimedDelivery) -> str | None:
        sealed = claimed.endpoint["secret"] if claimed.endpoint else None
        if sealed is None:
            return None
        return self._cipher.open(secret_record(claimed.scope.internal_id, claimed.webhook_id), SealedValue.of(sealed))

    def _record_unreadable(self, claimed: ClaimedDelivery, part: Part) -> None:
        record = unreadable(
            part,
            claimed.webhook_id,
            _ACTOR,
            used_for=claimed.delivery_id,
            namespace_id=claimed.scope.namespace_id,
        )
        # as denials are: each try of each delivery to this endpoint fails alike
        self._recorder.denied(claimed.scope.organization, record)
