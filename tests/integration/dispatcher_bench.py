"""One tenant with endpoints and deliveries, and dispatcher processes to serve them."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pymongo.database import Database
from redis import Redis

from core.clock import DatabaseClock, now
from core.ids import Prefix, random_id, webhook_id
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document, database_clock
from core.storage.redis import connect_redis
from core.storage.scope import NamespaceScope
from core.vault.cipher import Cipher
from core.vault.data_keys import DataKeys
from core.vault.kek import KeyEncryption
from core.vault.kek_environment import EnvironmentKeys
from core.webhooks.delivery import Delivery, DeliveryStatus
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import Event, EventType, Subject
from core.webhooks.relay import relay_events
from core.webhooks.store import WebhookStore

VAULT_KEY = f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}"
_PATIENCE_SECONDS = 60.0

Process = subprocess.Popen[bytes]


@dataclass
class Bench:
    """A tenant's endpoints and deliveries."""

    handles: Handles
    scope: NamespaceScope
    redis: Redis
    store: WebhookStore
    clock: DatabaseClock

    def endpoint(self, url: str, secret: str | None = None, timeout_seconds: float = 30.0, **more: Any) -> str:
        """The id of a new endpoint."""
        return self.store.create(self.scope, webhook_id(), _settings(url, timeout_seconds, more), secret).webhook_id

    def change(self, hook: str, url: str, **more: Any) -> None:
        """Give an endpoint other settings."""
        self.store.update(self.scope, hook, _settings(url, 30.0, more), None)

    def attempts(self, hook: str) -> list[dict[str, Any]]:
        """The attempts of the one delivery, as they are stored."""
        return self.store.attempts_of(self.scope, self.delivery(hook).delivery_id)

    def event(self) -> Event:
        """A fresh event, told to nobody yet."""
        return Event(
            random_id(Prefix.EVENT),
            EventType.RESOURCE_EXECUTED,
            now(),
            self.scope.namespace_id,
            Subject("retriever", "ret_1"),
            {},
        )

    def relay(self, event: Event) -> None:
        """Make the event's deliveries."""
        relay_events(self.handles, self.scope, [event], self.redis, self.clock)

    def send(self) -> Event:
        """A fresh event with its deliveries."""
        event = self.event()
        self.relay(event)
        return event

    def delivery(self, hook: str) -> Delivery:
        """The one delivery to an endpoint."""
        (delivery,) = self.store.list_deliveries(self.scope, hook)
        return delivery

    def await_status(self, hook: str, status: DeliveryStatus) -> Delivery:
        """The one delivery to an endpoint, once it has this status. Raises TimeoutError."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (delivery := self.delivery(hook)).status is not status:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the delivery is {delivery.status}, not {status}")
            time.sleep(0.05)
        return delivery

    def await_error(self, hook: str) -> Delivery:
        """The one delivery to an endpoint, once an attempt failed. Raises TimeoutError."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (delivery := self.delivery(hook)).last_error:
            if time.monotonic() > deadline:
                raise TimeoutError("no attempt failed")
            time.sleep(0.05)
        return delivery

    def results(self, hook: str) -> list[str]:
        """What each attempt of the one delivery came to."""
        return [item["result"] for item in self.attempts(hook)]


def _settings(url: str, timeout_seconds: float, more: Mapping[str, Any]) -> EndpointSettings:
    given = {"event_types": (EventType.RESOURCE_EXECUTED,), "timeout_seconds": timeout_seconds, **more}
    return EndpointSettings("hook", url, **given)


@contextmanager
def bench_on(
    database: Database[Document], scope: NamespaceScope, redis_url: str, kek: KeyEncryption | None = None
) -> Iterator[Bench]:
    """A bench for one tenant, whose values are sealed under `kek`, or a key of the environment."""
    redis, handles = connect_redis(redis_url), Handles(database)
    kek = kek or EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(VAULT_KEY)]))
    keys = DataKeys(handles, kek, kept_seconds=60)
    yield Bench(handles, scope, redis, WebhookStore(handles, keys, Cipher(keys), redis), database_clock(database))
    redis.close()
    redis.connection_pool.disconnect()


def start_dispatcher(
    mongo_url: str,
    redis_url: str,
    program: Sequence[str] = ("-m", "workers.dispatcher"),
    log: Path | None = None,
    /,
    **settings: str,
) -> Process:
    """A dispatcher process that may call this machine and retries soon. Its log is written to `log`."""
    environment = {
        **os.environ,
        "KEYSTAGE_MONGO_URL": mongo_url,
        "KEYSTAGE_REDIS_URL": redis_url,
        "KEYSTAGE_VAULT_KEYS": VAULT_KEY,
        "KEYSTAGE_AUDIT_KEYS": VAULT_KEY,
        "KEYSTAGE_EGRESS_ALLOW_CIDRS": "127.0.0.0/8,::1/128",
        "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE": "0.2,0.2",
        **settings,
    }
    with (log or Path(os.devnull)).open("ab") as written:
        return subprocess.Popen([sys.executable, *program], env=environment, stderr=written)


def stop_dispatcher(process: Process) -> None:
    """Tell it to stop, and see that it does so in order, unless the test has killed it."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=_PATIENCE_SECONDS) in {0, -signal.SIGKILL}
