"""Logging for tests that run what configures it in this process."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Whatever the block configures, logging is as it was afterwards."""
    root = logging.getLogger()
    before = (root.handlers, root.level, sys.excepthook, threading.excepthook)
    try:
        yield
    finally:
        root.handlers, root.level, sys.excepthook, threading.excepthook = before
        logging.captureWarnings(False)
        structlog.reset_defaults()
