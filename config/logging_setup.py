"""Structured logs for every process: one event name, facts as keywords, ids bound once per unit of work.

It never writes what looks like a key, a password or an internal id, whoever logged it: `redact` is the last step. What
nobody caught becomes a line too.
"""

import logging
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

import structlog

from config.redaction import redact, within_line
from config.settings import Settings
from config.variables import unread_variables

_NOISY = (
    "pymongo", "kombu", "celery.bootsteps", "granian", "urllib3",
    # these tell of each request's address and headers, where customers' credentials stand
    "httpcore2", "httpx2", "httpcore", "httpx", "openai", "anthropic", "google_genai",
    # and these of its body, where data keys stand
    "boto3", "botocore", "s3transfer", "google",
)  # fmt: skip


def configure_logging(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's loggers to `stream` (stderr by default) in one format.

    Variables of ours that nobody reads are the first thing a process says.
    """
    configure_logs(settings.log_level, settings.log_format, process, stream)
    for unread in unread_variables():
        structlog.get_logger("settings").warning("settings.unread_variable", hint=str(unread))


def configure_logs(level: str, form: str, process: str, stream: TextIO | None = None) -> None:
    """The same for a process that holds values and no settings, such as a Ray actor.

    The form `auto` is lines for a person where one reads them, and JSON where a program may.
    """
    target = stream or sys.stderr
    on_terminal = target.isatty()
    as_json = form == "json" or (form == "auto" and not on_terminal)
    # whoever watches a terminal knows which day it is
    moment: dict[str, Any] = (
        {"fmt": "%H:%M:%S", "utc": False} if on_terminal and not as_json else {"fmt": "iso", "utc": True}
    )

    def name_process(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # not a context variable: a server's own threads do not inherit those
        event["process"] = process
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(**moment),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if as_json else _lines_for_people(on_terminal)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, within_line(renderer)]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _log_what_nobody_catches()


def _lines_for_people(on_terminal: bool) -> structlog.typing.Processor:
    return structlog.dev.ConsoleRenderer(
        colors=on_terminal,
        # the richer one shows local variables, secrets among them
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=20,
    )


def _log_what_nobody_catches() -> None:
    """Python would write tracebacks and warnings to stderr as they are."""
    log = structlog.get_logger("process")

    def log_death(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("process.broken", exc_info=(kind, error, trace))

    def log_thread_death(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            name = args.thread.name if args.thread else None
            exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.critical("thread.broken", thread=name, exc_info=exc_info)

    sys.excepthook, threading.excepthook = log_death, log_thread_death
    logging.captureWarnings(True)


def bind_unit_of_work(ids: Mapping[str, str | None]) -> None:
    """Put the ids of the request or job at hand on each following log line of this thread: some of `UNIT_OF_WORK`."""
    structlog.contextvars.bind_contextvars(**{name: value for name, value in ids.items() if value})


def unbind_unit_of_work(*names: str) -> None:
    """Forget the ids bound for the unit of work that ended."""
    structlog.contextvars.unbind_contextvars(*names)
