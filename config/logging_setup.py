"""Structured logs for every process: one event name, facts as keywords, ids bound once per unit of work.

It never logs values of secrets: settings hold them as SecretStr, and messages carry ids only.
"""

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog

from config.settings import Settings


def configure_logging(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's loggers to `stream` (stderr by default) in one format."""
    configure_logs(settings.log_level, settings.log_format, process, stream)


def configure_logs(level: str, form: str, process: str, stream: TextIO | None = None) -> None:
    """The same for a process that holds values and no settings, such as a Ray actor."""

    def name_process(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # not a context variable: a server's own threads do not inherit those
        event["process"] = process
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False,
            # the richer one shows local variables, secrets among them
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("pymongo", "kombu", "celery.bootsteps", "granian", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def bind_unit_of_work(ids: Mapping[str, str | None]) -> None:
    """Put the ids of the request or job at hand on each following log line of this thread."""
    structlog.contextvars.bind_contextvars(**{name: value for name, value in ids.items() if value})


def unbind_unit_of_work(*names: str) -> None:
    """Forget the ids bound for the unit of work that ended."""
    structlog.contextvars.unbind_contextvars(*names)
