"""The dispatcher process (`python -m workers.dispatcher`): sends due deliveries. Retries live in MongoDB, not here.

One hanging endpoint cannot take every slot: what is over an endpoint's cap is left unclaimed, for later or for another
dispatcher.
"""

import asyncio
import os
import random
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
import uvloop

from config.logging_setup import configure_logging
from config.settings import Settings, load_settings
from core.egress.policy import EgressPolicy
from core.storage.failures import is_backend_failure
from core.storage.keyring import Keyring
from core.storage.mongo import connect_async
from core.storage.redis import DeliverySignal
from core.vault.cipher import Cipher, SealedValue, SecretRecord
from core.webhooks.delivery import Attempt, AttemptResult, DeliveryStatus
from core.webhooks.delivery_queue import ClaimedDelivery, DeliveryQueue
from core.webhooks.schedule import next_delay, retry_after
from core.webhooks.signature import signature_headers
from workers.sender import Sender

_SLOTS = 128
"""Requests under way at once."""
_SLOTS_PER_ENDPOINT = 8
_LOOK_EVERY_SECONDS = 1.0
_BEAT_SECONDS = 5.0
_LEASE_MARGIN_SECONDS = 15.0
"""A lease outlives the request's deadline by this much, for the database's sake."""
_GONE = 410

log = structlog.get_logger(__name__)


class Dispatcher:
    """Claims due deliveries, sends them, settles them."""

    def __init__(self, settings: Settings, queue: DeliveryQueue, sender: Sender, cipher: Cipher) -> None:
        self._settings = settings
        self._queue = queue
        self._sender = sender
        self._cipher = cipher
        self._under_way: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, wake: DeliverySignal, stopping: asyncio.Event) -> None:
        """Work until `stopping`; then let the requests under way end."""
        beat_at = 0.0
        while not stopping.is_set():
            try:
                if time.monotonic() - beat_at > _BEAT_SECONDS:
                    beat_at = time.monotonic()
                    await self._queue.beat()
                await self._start_due()
            except Exception as error:
                # nothing is lost: what is due stays due
                log.exception("dispatcher.round_broken", backend=is_backend_failure(error))
            await _first_of(wake.wait(_LOOK_EVERY_SECONDS), stopping.wait())
        await asyncio.gather(*self._tasks)

    async def _start_due(self) -> None:
        free = _SLOTS - len(self._tasks)
        if free <= 0:
            return
        load = Counter(self._under_way.values())
        for due in await self._queue.due(limit=4 * _SLOTS):
            if free <= 0:
                return
            if due.delivery_id in self._under_way or load[due.webhook_id] >= _SLOTS_PER_ENDPOINT:
                continue
            free -= 1
            load[due.webhook_id] += 1
            self._under_way[due.delivery_id] = due.webhook_id
            task = asyncio.create_task(self._deliver(due.delivery_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery_id: str) -> None:
        try:
            claimed = await self._queue.claim(delivery_id)
            if claimed is not None:
                await self._try_once(claimed)
        except Exception as error:
            # the lease runs out and the delivery is tried again
            log.exception("delivery.left_due", delivery_id=delivery_id, backend=is_backend_failure(error))
        finally:
            del self._under_way[delivery_id]

    async def _try_once(self, claimed: ClaimedDelivery) -> None:
        if claimed.endpoint is None or not claimed.endpoint["is_active"]:
            await self._queue.settle(claimed, DeliveryStatus.CANCELLED, "endpoint_gone", None)
            return
        if not await self._queue.start_attempt(claimed):
            return
        attempt = await self._send(claimed)
        await self._queue.complete_attempt(claimed, attempt)
        status, retry_in = self._judge(claimed, attempt)
        settled = await self._queue.settle(claimed, status, attempt.error, retry_in)
        await self._queue.note_health(claimed, attempt.error)
        log.info(
            "delivery.attempted",
            delivery_id=claimed.delivery_id,
            event_id=claimed.event_id,
            webhook_id=claimed.webhook_id,
            namespace_id=claimed.scope.namespace_id,
            number=claimed.number,
            result=attempt.result,
            status_code=attempt.status_code,
            ms=attempt.ms,
            delivery_status=status,
            settled=settled,
        )

    async def _send(self, claimed: ClaimedDelivery) -> Attempt:
        endpoint = claimed.endpoint or {}
        headers = dict(endpoint["headers"])
        if endpoint["secret"] is not None:
            record = SecretRecord(claimed.scope.internal_id, claimed.webhook_id, "signing_secret")
            secret = self._cipher.open(record, SealedValue(**endpoint["secret"]))
            headers |= signature_headers(secret, claimed.event_id, int(time.time()), claimed.body)
        else:
            headers |= {"webhook-id": claimed.event_id, "webhook-timestamp": str(int(time.time()))}
        return await self._sender.send(endpoint["url"], headers, claimed.body, endpoint["timeout_seconds"])

    def _judge(self, claimed: ClaimedDelivery, attempt: Attempt) -> tuple[DeliveryStatus, timedelta | None]:
        """What an attempt means for its delivery: the end, or a retry after a while."""
        if attempt.result is AttemptResult.DELIVERED:
            return DeliveryStatus.DELIVERED, None
        if attempt.result is AttemptResult.BLOCKED:
            return DeliveryStatus.BLOCKED, None
        if attempt.status_code == _GONE:
            return DeliveryStatus.FAILED, None
        floor = retry_after(attempt.retry_after, datetime.now(UTC))
        jitter = random.uniform(-1, 1)  # noqa: S311 - spreads retries, guards nothing
        delay = next_delay(self._settings.webhook_retry_schedule, claimed.tries, jitter, floor)
        return (DeliveryStatus.FAILED, None) if delay is None else (DeliveryStatus.PENDING, delay)


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    _done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


async def dispatch(settings: Settings) -> None:
    """Run one dispatcher until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    owner = f"dispatcher:{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    database = connect_async(settings.mongo_url)
    queue = DeliveryQueue(database, owner, settings.webhook_timeout_seconds + _LEASE_MARGIN_SECONDS)
    policy = EgressPolicy.allowing(settings.egress_allow_cidrs)
    sender = Sender(policy, settings.webhook_timeout_seconds, _SLOTS, _SLOTS_PER_ENDPOINT)
    cipher = Cipher(Keyring("KEYSTAGE_VAULT_KEYS", settings.vault_keys))
    wake = DeliverySignal(settings.redis_url)
    try:
        await Dispatcher(settings, queue, sender, cipher).run(wake, stopping)
    finally:
        await wake.close()
        await sender.close()
        await database.client.close()


def main() -> None:
    """Run until told to stop."""
    settings = load_settings()
    configure_logging(settings, "dispatcher")
    uvloop.run(dispatch(settings))


if __name__ == "__main__":
    main()
