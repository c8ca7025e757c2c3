"""A worker's logging beside Celery's."""

import logging

import pytest

from workers import worker


def test_celery_says_nothing_of_a_broker_that_is_away_and_warns_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, rest = (logging.getLogger(name) for name in ("celery.worker.consumer.consumer", "celery.worker.loops"))
    for logger in (consumer, rest, logging.getLogger("celery")):
        monkeypatch.setattr(logger, "level", logger.level)
    worker._keep_our_logging()
    assert consumer.getEffectiveLevel() == logging.ERROR
    assert rest.getEffectiveLevel() == logging.WARNING
