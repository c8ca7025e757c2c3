"""The watch keeps the last answer, and outlives a question that goes wrong."""

import threading
from collections.abc import Iterator

from cli.stack.worker_watch import WorkerWatch


def test_the_last_answer_is_kept_and_an_error_counts_as_no_stall() -> None:
    asked, may_answer = threading.Semaphore(0), threading.Semaphore(0)
    answers: Iterator[bool | Exception] = iter([False, True, RuntimeError("went wrong")])

    def stalled() -> bool:
        asked.release()
        may_answer.acquire()
        answer = next(answers, False)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch = WorkerWatch(stalled, interval_seconds=0.001)
    watch.start()
    seen = []
    for _ in range(4):
        # once the next question is asked, the answer to the one before is in
        assert asked.acquire(timeout=5)
        seen.append(watch.sees_stall)
        may_answer.release()
    watch.close()
    may_answer.release(10)
    assert seen == [False, False, True, False]
