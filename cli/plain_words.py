"""Turns what can go wrong outside of Keystage into one sentence and exit code 1. What is a fault of ours stays one."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import click

from config.redaction import redacted
from config.refusals import UnusableSettingsError, variable
from config.settings import Settings
from core.backends.backend import Backend
from core.errors import KeystageError
from core.storage.disk import in_words
from core.storage.failures import failed_backend

_SETTINGS_OF = {Backend.MONGO: "mongo_url", Backend.REDIS: "redis_url", Backend.BROKER: "broker_url"}


@contextmanager
def plain_words(settings: Settings | None = None, before: str = "") -> Iterator[None]:
    """Ends the command with a sentence, behind `before`. `settings` say where a backend that fails was looked for."""
    try:
        yield
    except (KeystageError, UnusableSettingsError) as error:
        raise click.ClickException(f"{before}{error}") from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            # whoever read our output has seen enough
            raise
        raise click.ClickException(f"{before}{in_words(error)}") from error
    except Exception as error:
        failed = failed_backend(error)
        if failed is None:
            raise
        raise click.ClickException(f"{before}{failed.what}{_where(failed.backend, settings)}") from error


def _where(backend: Backend, settings: Settings | None) -> str:
    if settings is None:
        return ""
    name = _SETTINGS_OF[backend]
    # an unset broker is Redis
    url = getattr(settings, name) or settings.redis_url
    return f": {redacted(url)} ({variable(name)})"
