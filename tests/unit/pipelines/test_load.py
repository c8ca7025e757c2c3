"""Who gets the next call: the actor with the least waiting, over all jobs; an idle one for a chunk, in turn."""

from typing import Any

import pytest

from core.errors import ActorLostError
from pipelines.load import Kind, Load, Turn


class Ray:
    """The ends of calls, as Ray would tell of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: set[object] = set()
        self.failed: set[object] = set()
        monkeypatch.setattr("pipelines.load.ended", lambda references, _: [r for r in references if r in self.done])
        monkeypatch.setattr("pipelines.load.result_of", self._result)

    def _result(self, reference: object, _: float) -> None:
        if reference in self.failed:
            raise ActorLostError


class Actor:
    """An actor that notes what it was sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.probes: list[object] = []

    @property
    def config(self) -> "Actor":
        return self

    def options(self, **_: Any) -> "Actor":
        return self

    def remote(self) -> object:
        self.probes.append(object())
        return self.probes[-1]


def send(actor: Actor) -> object:
    actor.sent.append(object())
    return actor.sent[-1]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    return Ray(monkeypatch)


def test_a_call_goes_to_the_actor_with_the_least_waiting_of_its_kind(ray: Ray) -> None:
    first, second = actors = Actor(), Actor()
    load = Load(actors)
    for _ in range(4):
        load.send(Kind.CHAINS, send)
    assert [len(actor.sent) for actor in actors] == [2, 2]
    # both of the second's end: not its turn, but its idleness decides
    ray.done.update(second.sent)
    for _ in range(2):
        load.send(Kind.CHAINS, send)
    assert [len(actor.sent) for actor in actors] == [2, 4]
    load.done(first.sent[0])
    load.send(Kind.CHAINS, send)
    assert [len(actor.sent) for actor in actors] == [3, 4]


def test_kinds_do_not_hold_one_another_up_but_decide_between_equals(ray: Ray) -> None:
    first, second = actors = Actor(), Actor()
    load = Load(actors)
    load.send(Kind.EXTRACTION, send)
    load.send(Kind.CHAINS, send)
    assert [len(actor.sent) for actor in actors] == [1, 1]
    assert load.send_when_idle(Kind.EXTRACTION, Turn(), send) is second.sent[-1]
    assert len(first.sent) == 1


def test_no_chunk_waits_behind_another(ray: Ray) -> None:
    actors = Actor(), Actor()
    load, turn = Load(actors), Turn()
    assert load.send_when_idle(Kind.EXTRACTION, turn, send)
    assert load.send_when_idle(Kind.EXTRACTION, turn, send)
    assert load.send_when_idle(Kind.EXTRACTION, turn, send) is None
    ray.done.update(actors[1].sent)
    assert load.send_when_idle(Kind.EXTRACTION, turn, send)
    assert [len(actor.sent) for actor in actors] == [1, 2]


def test_jobs_take_turns_and_who_leaves_the_line_keeps_nobody_waiting(ray: Ray) -> None:
    actor = Actor()
    load, first, second, third = Load((actor,)), Turn(), Turn(), Turn()

    def ask(turn: Turn) -> bool:
        return load.send_when_idle(Kind.EXTRACTION, turn, send) is not None

    assert ask(first)
    assert not ask(second)
    assert not ask(third)
    # the first has more to do, and is behind those who came meanwhile
    assert not ask(first)
    ray.done.update(actor.sent)
    assert not ask(first)
    assert not ask(third)
    assert ask(second)
    ray.done.update(actor.sent)
    load.leave(third)
    assert ask(first)


def test_a_call_that_could_not_be_sent_is_not_counted(ray: Ray) -> None:
    load = Load((Actor(),))

    def fail(_: Actor) -> object:
        raise ValueError("not sent")

    with pytest.raises(ValueError, match="not sent"):
        load.send_when_idle(Kind.EXTRACTION, Turn(), fail)
    assert load.send_when_idle(Kind.EXTRACTION, Turn(), send)


def test_an_actor_that_ended_is_passed_over_until_it_is_back(ray: Ray) -> None:
    first, second = actors = Actor(), Actor()
    load = Load(actors)
    load.actor_ended(load.send(Kind.CHAINS, send))
    for _ in range(3):
        load.send(Kind.CHAINS, send)
    assert [len(actor.sent) for actor in actors] == [1, 3]
    ray.done.update(first.probes)
    load.send(Kind.CHAINS, send)
    assert len(first.sent) == 2
    assert not load.is_void
    # with no other, Ray keeps the call until it is back
    alone = Load((second,))
    alone.actor_ended(alone.send(Kind.CHAINS, send))
    assert alone.send(Kind.CHAINS, send)


def test_an_actor_that_is_not_made_again_voids_the_attachment(ray: Ray) -> None:
    actor = Actor()
    load = Load((actor,))
    load.actor_ended(load.send(Kind.CHAINS, send))
    ray.done.update(actor.probes)
    ray.failed.update(actor.probes)
    load.send(Kind.CHAINS, send)
    assert load.is_void


def test_an_actor_that_has_calls_and_says_nothing_is_ended_to_be_made_again(
    ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, now = list[tuple[object, bool]](), [1000.0]
    monkeypatch.setattr("pipelines.load.end_actor", lambda actor, restart: killed.append((actor, restart)))
    monkeypatch.setattr("pipelines.load.beside", lambda work, _: work())
    monkeypatch.setattr("pipelines.load.time.monotonic", lambda: now[0])
    busy, idle = actors = Actor(), Actor()
    load = Load(actors)
    load.send(Kind.EXTRACTION, send)
    for _ in range(30):
        # asked every ten seconds, it answers
        load.look()
        ray.done.update(busy.probes)
        now[0] += 10
    assert (len(busy.probes), idle.probes, killed) == (30, [], [])
    for _ in range(8):
        load.look()
        now[0] += 10
    assert killed == [(busy, True)]
    assert idle.probes == []
