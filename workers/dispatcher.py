"""The dispatcher process (`python -m workers.dispatcher`): sends due deliveries. Retries live in MongoDB, not here.

One hanging endpoint cannot take every slot: what is over an endpoint's cap is left unclaimed, for later or for another
dispatcher. What needs the key service while that is away waits, and no attempt is counted. Redis only makes it look
sooner; it looks once a second anyway, and when the next delivery becomes due.
"""

import asyncio
import os
import random
import signal
import socket
import time
import uuid
from collections import Counter
from datetime import datetime, timedelta

import structlog
import uvloop

from config.logging_setup import bind_unit_of_work, configure_logging
from config.settings import Settings, settings_or_exit
from core.audit.recorder import Recorder
from core.backends.absence_log import AbsenceLog
from core.backends.watch import BackendWatch
from core.bootstrap import build_recorder, build_watched_cipher
from core.egress.policy import EgressPolicy
from core.egress.retry_after import retry_after
from core.errors import UnavailableError
from core.storage.abilities.first_start import trusted_or_exit
from core.storage.command_log import log_commands
from core.storage.failures import away
from core.storage.mongo import close, connect, connect_async
from core.storage.redis import DeliverySignal, connect_redis_impatiently
from core.storage.redis_memory import RedisMemory
from core.vault.cipher import Cipher
from core.webhooks.delivery import Attempt, AttemptResult, DeliveryStatus
from core.webhooks.delivery_queue import ClaimedDelivery, DeliveryQueue
from core.webhooks.due_scan import DueScan
from core.webhooks.endpoint import why_not_told
from core.webhooks.endpoint_lines import DueDelivery, EndpointLines
from core.webhooks.event import read_body
from core.webhooks.schedule import next_delay
from workers.endpoint_vault import EndpointVault, Opened
from workers.sender import Sender

_SLOTS = 128
"""Requests under way at once."""
_SLOTS_PER_ENDPOINT = 8
_REMEMBERED_PER_ENDPOINT = 1000
_REMEMBERED = 100_000
"""Due deliveries of all endpoints, some 30 MB; while there are so many, no further ones are read."""
_LOOK_EVERY_SECONDS = 1.0
_LOOK_AT_MOST_EVERY_SECONDS = 0.05
"""A burst of signals is answered by one look."""
_LOOK_AFTER_DUE_SECONDS = 0.005
"""How well this process knows the database's clock: a look that came too early would cost one more."""
_LOOK_AT_ALL_EVERY_SECONDS = 30.0
"""How often the whole backlog is read again: for what another dispatcher, or an error of ours, left behind."""
_BEAT_SECONDS = 5.0
_LEASE_MARGIN_SECONDS = 15.0
"""A lease outlives the request's deadline by this much, for the database's sake."""
_SHORTEST_WAIT, _LONGEST_WAIT = 1.0, 30.0
"""Seconds after which a delivery that could not be opened is tried again; they follow how long it has waited."""
_GONE = 410
_EARLIEST, _LATEST = -1.0, 0.5
"""Of the jitter: the look, the claim and the request take their time, and the schedule's 20 % hold for the whole."""

log = structlog.get_logger(__name__)


class Dispatcher:
    """Claims due deliveries, sends them, settles them."""

    def __init__(
        self,
        settings: Settings,
        queue: DeliveryQueue,
        sender: Sender,
        cipher: Cipher,
        recorder: Recorder,
        watch: BackendWatch,
    ) -> None:
        """`watch` says once that a backend went, and once that it came back."""
        self._schedule = settings.webhook_retry_schedule
        self._queue = queue
        self._sender = sender
        self._watch = watch
        self._longest_wait = timedelta(seconds=settings.backend_wait_seconds)
        self._vault = EndpointVault(cipher, recorder)
        self._lines = EndpointLines(_SLOTS_PER_ENDPOINT, _REMEMBERED_PER_ENDPOINT)
        self._scan = DueScan()
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._next_look: asyncio.Handle | None = None
        self._next_look_at = float("-inf")
        self._stopping = False
        self._attempts: Counter[str] = Counter()
        self._beat_at = float("-inf")
        self._restarted_at = float("-inf")

    async def run(self, wake: DeliverySignal) -> None:
        """Work until `stop`; then let the requests under way end."""
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(self._listen(wake))
            while not self._stopping:
                self._look.clear()
                try:
                    await self._look_once()
                except Exception as error:
                    # nothing is lost: what is due stays due
                    if not self._is_absence(error):
                        log.exception("dispatcher.round_broken")
                await asyncio.sleep(_LOOK_AT_MOST_EVERY_SECONDS)
                await self._look.wait()
            listener.cancel()
        await asyncio.gather(*self._tasks)

    def _look_in(self, seconds: float) -> None:
        """Look again after so long, unless a look is planned before; what is further off is found by the usual one."""
        if seconds > _LOOK_EVERY_SECONDS:
            return
        loop = asyncio.get_running_loop()
        moment = loop.time() + max(seconds, 0) + _LOOK_AFTER_DUE_SECONDS
        if loop.time() < self._next_look_at <= moment:
            return
        if self._next_look is not None:
            self._next_look.cancel()
        # remembered here: what uvloop gives for a moment that is now does not tell it
        self._next_look_at, self._next_look = moment, loop.call_at(moment, self._look_now)

    def _look_now(self) -> None:
        # uvloop counts milliseconds and may be a little early: by its clock this look would still be to come
        self._next_look_at = float("-inf")
        self._look.set()

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping = True
        self._look.set()

    async def _listen(self, wake: DeliverySignal) -> None:
        while True:
            await wake.wait(_LOOK_EVERY_SECONDS)
            self._look.set()

    async def _look_once(self) -> None:
        """One round: heartbeat, the next slice of what is due, and a start for what has a free slot."""
        moment = time.monotonic()
        if moment - self._beat_at > _BEAT_SECONDS:
            self._beat_at = moment
            await self._queue.beat(self._lines.under_way, self._attempts)
        if self._lines.forgot_any() or moment - self._restarted_at > _LOOK_AT_ALL_EVERY_SECONDS:
            self._restarted_at = moment
            self._scan.restart()
        present = await self._queue.now()
        if self._lines.remembered < _REMEMBERED:
            for due in await self._scan.next_slice(self._queue.due_between, present):
                self._lines.add(due)
        self._start_known()
        if not self._scan.caught_up:
            self._look.set()
        elif following := await self._queue.next_due(present, present + timedelta(seconds=_LOOK_EVERY_SECONDS)):
            self._look_in((following - await self._queue.now()).total_seconds())

    def _start_known(self) -> None:
        while not self._stopping and len(self._tasks) < _SLOTS and (due := self._lines.take()):
            task = asyncio.create_task(self._deliver(due))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start_known()
        if not self._tasks:
            self._look.set()

    async def _deliver(self, due: DueDelivery) -> None:
        try:
            claimed = await self._queue.claim(due.delivery_id)
            if claimed is not None:
                # of this task alone
                bind_unit_of_work({"namespace_id": claimed.scope.namespace_id})
                await self._try_once(claimed)
        except Exception as error:
            # the lease runs out, or never began, and the delivery is tried again
            if not self._is_absence(error):
                log.exception("delivery.left_due", delivery_id=due.delivery_id)
        finally:
            self._lines.finished(due)

    async def _try_once(self, claimed: ClaimedDelivery) -> None:
        if ended := self._ends_untried(claimed):
            await self._queue.end_untried(claimed, *ended)
            return
        try:
            # the organization's key may have to be read, and unwrapped by a service far away
            opened = await asyncio.to_thread(self._vault.open, claimed)
        except UnavailableError:
            # this one's key: what it says of the key service is the watch's to find out
            await self._leave_for_later(claimed)
            return
        await self._queue.start_attempt(claimed)
        attempt = opened if isinstance(opened, Attempt) else await self._send(claimed, opened)
        ended_at = time.monotonic()
        self._attempts[attempt.result.value] += 1
        status, retry_in = self._judge(claimed, attempt, await self._queue.now())
        ours = await self._queue.complete_attempt(claimed, attempt)
        if ours and attempt.result is not AttemptResult.NOT_SENT:
            await self._queue.note_health(claimed, attempt.error)
        if retry_in is not None:
            # the wait began when the attempt ended, not when that is written down
            retry_in = max(retry_in - timedelta(seconds=time.monotonic() - ended_at), timedelta())
        settled = ours and await self._queue.settle(claimed, status, attempt.error, retry_in)
        if settled and retry_in is not None:
            self._look_in(retry_in.total_seconds())
        _log_attempt(claimed, attempt, status, settled)

    def _ends_untried(self, claimed: ClaimedDelivery) -> tuple[DeliveryStatus, str] | None:
        """Why a delivery is not tried any more."""
        if claimed.endpoint is None:
            return DeliveryStatus.CANCELLED, "endpoint_gone"
        if claimed.body is None:
            return DeliveryStatus.FAILED, "event_gone"
        if why := why_not_told(claimed.endpoint, read_body(claimed.body)):
            return DeliveryStatus.CANCELLED, why
        # dispatcher after dispatcher died during the request
        exhausted = claimed.tries > len(self._schedule) + 1
        return (DeliveryStatus.FAILED, "schedule_exhausted") if exhausted else None

    async def _send(self, claimed: ClaimedDelivery, opened: Opened) -> Attempt:
        endpoint, body = claimed.endpoint or {}, claimed.body or b""
        headers = opened.signed(claimed.event_id, await self._queue.now(), body)
        attempt = await self._sender.send(endpoint["url"], headers, body, endpoint["timeout_seconds"])
        return await asyncio.to_thread(opened.kept, attempt)

    async def _leave_for_later(self, claimed: ClaimedDelivery) -> None:
        """Put a delivery back that cannot be opened now, for as long again as it has waited by now, within bounds; or
        end it at the age at which a job that waits is given up."""
        present = await self._queue.now()
        waited = present - (claimed.waits_since or present)
        if waited >= self._longest_wait:
            log.warning("delivery.given_up", delivery_id=claimed.delivery_id, webhook_id=claimed.webhook_id)
            await self._queue.end_untried(claimed, DeliveryStatus.FAILED, "backend_away")
            return
        seconds = min(max(waited.total_seconds(), _SHORTEST_WAIT), _LONGEST_WAIT)
        seconds *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        await self._queue.put_back(claimed, timedelta(seconds=seconds))

    def _is_absence(self, error: Exception) -> bool:
        """Whether it says that a backend is away. The watch logs that once, not each time that somebody meets it."""
        absent = away(error)
        if absent is not None:
            self._watch.note_away(absent.backend)
        return absent is not None

    def _judge(
        self, claimed: ClaimedDelivery, attempt: Attempt, moment: datetime
    ) -> tuple[DeliveryStatus, timedelta | None]:
        """What an attempt means for its delivery: the end, or a retry after a while."""
        if attempt.result is AttemptResult.DELIVERED:
            return DeliveryStatus.DELIVERED, None
        if attempt.result is AttemptResult.BLOCKED:
            return DeliveryStatus.BLOCKED, None
        if attempt.status_code == _GONE:
            return DeliveryStatus.FAILED, None
        floor = retry_after(attempt.retry_after, moment) or timedelta()
        jitter = random.uniform(_EARLIEST, _LATEST)  # noqa: S311 - spreads retries, guards nothing
        delay = next_delay(self._schedule, claimed.tries, jitter, floor)
        return (DeliveryStatus.FAILED, None) if delay is None else (DeliveryStatus.PENDING, delay)


def _log_attempt(claimed: ClaimedDelivery, attempt: Attempt, status: DeliveryStatus, settled: bool) -> None:
    log.info(
        "delivery.attempted",
        delivery_id=claimed.delivery_id,
        event_id=claimed.event_id,
        event_type=claimed.event_type,
        webhook_id=claimed.webhook_id,
        number=claimed.number,
        result=attempt.result,
        status_code=attempt.status_code,
        status_class=f"{attempt.status_code // 100}xx" if attempt.status_code else None,
        error=attempt.error,
        answer_fault=attempt.answer_fault,
        ms=attempt.ms,
        delivery_status=status,
        settled=settled,
    )


async def dispatch(settings: Settings) -> None:
    """Run one dispatcher until SIGTERM or SIGINT."""
    owner = f"dispatcher:{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    log_commands(settings.mongo_command_log)
    database = connect_async(settings.mongo_url, settings.mongo_tls)
    # longer than any request can take, so that a living dispatcher keeps what it claimed
    queue = DeliveryQueue(database, owner, settings.webhook_timeout_seconds + _LEASE_MARGIN_SECONDS)
    sender = Sender(EgressPolicy.allowing(settings.egress_allow_cidrs), settings.webhook_timeout_seconds, _SLOTS)
    keys_database = connect(settings.mongo_url, settings.mongo_tls)
    absences = AbsenceLog()
    redis = connect_redis_impatiently(settings.redis_url, settings.redis_tls, RedisMemory(absences=absences))
    cipher, watch = build_watched_cipher(settings, keys_database, redis, absences)
    recorder = build_recorder(settings, keys_database)
    watch.start()
    wake = DeliverySignal(settings.redis_url, settings.redis_tls)
    dispatcher = Dispatcher(settings, queue, sender, cipher, recorder, watch)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, dispatcher.stop)
    try:
        await dispatcher.run(wake)
        await _leave(queue)
    finally:
        watch.close()
        await wake.close()
        await sender.close()
        await database.client.close()
        recorder.close()
        redis.close()
        close(keys_database)


async def _leave(queue: DeliveryQueue) -> None:
    try:
        await queue.leave()
    except Exception as error:
        # the heartbeat grows old by itself
        if away(error) is None:
            raise


def main() -> None:
    """Run until told to stop."""
    settings = settings_or_exit()
    configure_logging(settings, "dispatcher")
    trusted_or_exit(settings)
    uvloop.run(dispatch(settings))


if __name__ == "__main__":
    main()
