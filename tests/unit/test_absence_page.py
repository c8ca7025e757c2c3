"""The page about absent parts: each part has a name and a row of its own, and the figures stand where they belong."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.backends.backend import Backend
from tests.e2e.absence_page import PAGE, table, write_page
from tests.e2e.figures import ROWS, Figures, broken
from tests.gate import Manner

_WELL = Figures(
    backend="vector_store",
    manner="killed",
    away_seconds=60.0,
    search_first=0.01,
    search_first_status=503,
    search_slowest=1.5,
    searches={"200": 2, "503": 40},
    upload_slowest=0.2,
    uploads={"200": 60},
    health_slowest=0.1,
    other_slowest=0.1,
    others={"200": 300},
    search_well_after=1.0,
    batch_ended_after=12.0,
    all_ended_after=12.0,
    attempts_beyond_the_first=0,
    waiting_for=("vector_store",),
    not_completed=0,
    lost=0,
    doubled=0,
    expected=600,
    found=600,
    left_behind=0,
    holds_open=0,
    restarts={},
)


def test_each_backend_is_killed_and_frozen() -> None:
    assert {(row.backend, row.manner) for row in ROWS} >= {
        (backend, manner) for backend in Backend for manner in (Manner.KILLED, Manner.FROZEN)
    }


def test_the_figures_take_the_place_of_those_that_stood_there(tmp_path: Path) -> None:
    page = tmp_path / "absence.md"
    page.write_text(PAGE.read_text())
    for _ in range(2):
        write_page([replace(_WELL, backend=backend.value) for backend in Backend], 600, page)
    text = page.read_text()
    assert text.count("| 600 of 600 |") == len(Backend)
    assert text.partition("<!-- figures -->")[0] == PAGE.read_text().partition("<!-- figures -->")[0]
    assert "| killed | 0.0 (503) | 1.5 | 2 × 200, 40 × 503 |" in table([_WELL], 600)


UNNOTICED = ["nobody noticed that it was away: no request was refused"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"attempts_beyond_the_first": 2}, ["attempts_beyond_the_first = 2"]),
        ({"lost": 1}, ["lost = 1"]),
        ({"found": 599}, ["documents: 599 of 600"]),
        ({"left_behind": 1}, ["left behind = 1"]),
        ({"others": {"200": 1, "503": 1}}, ["others, which need nothing that is away: {'200': 1, '503': 1}"]),
        ({"wrong": ("search: 500",)}, ["search: 500"]),
        ({"searches": {"200": 42}}, UNNOTICED),
        ({"searches": {"200": 42}, "away_seconds": 4.0}, []),
        ({"searches": {"200": 42}, "away_seconds": 4.0, "backend": "key_service"}, UNNOTICED),
        ({"searches": {"200": 42}, "away_seconds": 4.0, "backend": "key_service", "manner": "frozen"}, []),
        ({"searches": {"200": 42}, "backend": "object_storage"}, UNNOTICED),
        ({"searches": {"200": 42}, "uploads": {"503": 1}, "backend": "object_storage"}, []),
        ({"searches": {"200": 42}, "backend": "task_queue"}, []),
    ],
)
def test_a_scene_says_what_it_shows_broken(change: dict[str, object], said: list[str]) -> None:
    assert broken(replace(_WELL, **change)) == said  # type: ignore[arg-type]
