"""One line when a backend goes away and one when it is back, however many of a process find out."""

from typing import Any

from structlog.testing import capture_logs

from core.backends.absence_log import AbsenceLog
from core.backends.backend import Backend

BLOBS, REDIS = Backend.BLOBS, Backend.REDIS


def said(logs: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["backend"]) for line in logs]


def test_it_is_away_while_anybody_says_so() -> None:
    absences = AbsenceLog()
    with capture_logs() as logs:
        absences.note(BLOBS, "one", away=False)
        absences.note(BLOBS, "one", away=True, why="refused")
        absences.note(BLOBS, "other", away=True, why="silent")
        absences.note(BLOBS, "one", away=True)
        absences.note(BLOBS, "one", away=False)
        assert said(logs) == [("backend.away", BLOBS)]
        absences.note(BLOBS, "other", away=False)
    assert said(logs) == [("backend.away", BLOBS), ("backend.back", BLOBS)]
    assert logs[0]["why"] == "refused"
    assert logs[1]["seconds"] >= 0


def test_backends_and_absences_are_told_apart() -> None:
    absences = AbsenceLog()
    with capture_logs() as logs:
        for _ in range(2):
            absences.note(BLOBS, "one", away=True)
            absences.note(REDIS, "one", away=True)
            absences.note(BLOBS, "one", away=False)
    assert said(logs) == [
        ("backend.away", BLOBS), ("backend.away", REDIS), ("backend.back", BLOBS),
        ("backend.away", BLOBS), ("backend.back", BLOBS),
    ]  # fmt: skip
