"""What the checks look at: the settings, the services as far as they answer, and where the API is."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from cli.stack.layout import data_directory, read_json
from cli.stack.lock import running_stack
from cli.stack.readiness import api_connection
from config.settings import Settings
from core.bootstrap import Services, build_services
from core.errors import KeystageError
from core.storage.failures import is_backend_failure

_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - replaced, not bound


@dataclass(frozen=True)
class Installation:
    """A running installation."""

    settings: Settings
    environment: Mapping[str, str]
    api_url: str
    services: Services | str
    """What our processes work with, or why they could not be made."""

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
def installation(settings: Settings, environment: Mapping[str, str], api_url: str | None) -> Iterator[Installation]:
    """The installation that these settings describe; its services are closed afterwards."""
    services = _services(settings)
    try:
        yield Installation(settings, environment, api_url or _api_url(settings), services)
    finally:
        if isinstance(services, Services):
            services.close()


def _services(settings: Settings) -> Services | str:
    try:
        return build_services(settings)
    except KeystageError as error:
        return error.message
    except ValueError as error:
        # a key that is not well formed; the sentence names its setting
        return str(error)
    except Exception as error:
        if not is_backend_failure(error):
            raise
        return "MongoDB does not answer"


def _api_url(settings: Settings) -> str:
    layout = data_directory(settings.data)
    ready = read_json(layout.ready) if running_stack(layout) else None
    if ready:
        return str(ready["api_url"])
    scheme = "https" if settings.api_tls_cert_file else "http"
    return f"{scheme}://{_EVERY_INTERFACE.get(settings.api_host, settings.api_host)}:{settings.api_port}"
