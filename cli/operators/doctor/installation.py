"""What the checks look at: the settings, the services as far as they answer, and where the API is."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from cli.stack.effective import Effective
from cli.stack.layout import data_directory, read_json
from cli.stack.locate import Located
from cli.stack.lock import running_stack
from cli.stack.readiness import api_connection
from config.settings import Settings
from core.errors import UnavailableError, UnfitDatabaseError
from core.health import Heartbeats
from core.storage.abilities.first_start import require_trusted
from core.storage.handles import Handles
from core.storage.mongo import close, connect, database_clock
from core.storage.probe import mongo_answers
from core.tenancy.organization_store import OrganizationStore

_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - replaced, not bound


@dataclass(frozen=True)
class Records:
    """What checks read from the database."""

    handles: Handles
    heartbeats: Heartbeats
    organizations: OrganizationStore


@dataclass(frozen=True)
class Installation:
    """A running installation."""

    settings: Settings
    told: Effective
    """where each setting came from, and what only the stack knows"""
    api_url: str
    records: Records | str
    """What is in the database, or why that cannot be said."""

    def holds(self, name: str) -> bool:
        """Whether a secret is set, be it where only the stack can read it."""
        return bool(getattr(self.settings, name)) or self.told.row(name).value not in (None, [])

    @property
    def api_is_tls(self) -> bool:
        """Whether the API is reached over TLS."""
        return self.api_url.startswith("https://")

    def api_health(self) -> dict[str, Any] | None:
        """The body of /v1/health, or None when the API does not answer."""
        address = self.api_url.partition("://")[2].partition("/")[0]
        certificate = self.settings.api_tls_cert_file if self.api_is_tls else None
        connection = api_connection(address, certificate, tls=self.api_is_tls)
        with closing(connection):
            try:
                connection.request("GET", "/v1/health")
                body: dict[str, Any] = json.loads(connection.getresponse().read())
            except (OSError, http.client.HTTPException, ValueError):
                return None
        return body


@contextmanager
def installation(located: Located, api_url: str | None) -> Iterator[Installation]:
    """The installation that was found; its connections are closed afterwards."""
    settings = located.settings
    url = api_url or _api_url(settings)
    try:
        require_trusted(settings)
    except (UnavailableError, UnfitDatabaseError) as error:
        yield Installation(settings, located.told, url, error.message)
        return
    database = connect(settings.mongo_url, settings.mongo_tls)
    try:
        handles = Handles(database)
        records = Records(handles, Heartbeats(handles, database_clock(database)), OrganizationStore(handles))
        away = "MongoDB does not answer"
        yield Installation(settings, located.told, url, records if mongo_answers(database) else away)
    finally:
        close(database)


def _api_url(settings: Settings) -> str:
    layout = data_directory(settings.data)
    ready = read_json(layout.ready) if running_stack(layout) else None
    if ready:
        return str(ready["api_url"])
    scheme = "https" if settings.api_tls_cert_file else "http"
    return f"{scheme}://{_EVERY_INTERFACE.get(settings.api_host, settings.api_host)}:{settings.api_port}"
