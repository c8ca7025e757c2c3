"""The state table: closed, drawn, and never leaving a final state."""

import re
from pathlib import Path

import pytest

from core.backends.backend import Backend
from core.jobs.job import FINAL_STATES, MOVES, Decision, JobState, Move, states_before

PAGE = Path(__file__).parents[3] / "docs" / "job-states.md"


def test_the_drawn_diagram_is_the_table() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (.+)$", PAGE.read_text(), flags=re.MULTILINE))
    table = {
        (before.value, after.value, move.value)
        for move, rows in MOVES.items()
        for before, afters in rows.items()
        for after in afters
    }
    assert drawn == table


def test_the_page_names_each_backend_that_a_job_can_wait_for() -> None:
    text = PAGE.read_text()
    # a job needs neither the cache nor a doorbell
    assert all(f"`{backend.value}`" in text for backend in set(Backend) - {Backend.REDIS, Backend.BROKER})


def test_no_move_leaves_a_final_state() -> None:
    assert not [move for move, rows in MOVES.items() if FINAL_STATES & rows.keys()]


def test_every_state_is_reached_from_queued() -> None:
    reached = {JobState.QUEUED}
    while True:
        further = reached | {
            after for rows in MOVES.values() for before, afters in rows.items() if before in reached for after in afters
        }
        if further == reached:
            break
        reached = further
    assert reached == set(JobState)


def test_only_a_running_job_can_be_decided() -> None:
    assert states_before(Move.DECIDE) == ["running"]


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_a_decision_needs_an_outcome(state: JobState) -> None:
    with pytest.raises(ValueError, match="not an outcome"):
        Decision(state)
