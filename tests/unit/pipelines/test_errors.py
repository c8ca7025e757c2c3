"""Errors on their way from an actor to the worker: pickled, and still all that they were."""

import pickle

import pytest

from core.backends.backend import Backend
from core.errors import BackendAwayError, SecretUnusableError, StageError
from pipelines.llm.errors import BudgetExhaustedError, LlmError, LlmFailure


@pytest.mark.parametrize(
    "error",
    [
        StageError("it failed", place="here"),
        SecretUnusableError("k", "secret_missing", "does not exist"),
        LlmError(LlmFailure.RATE_LIMITED, "no more", 3.0),
        BudgetExhaustedError(),
        BackendAwayError(Backend.VECTORS, silent=True),
    ],
)
def test_an_error_keeps_its_words_its_code_and_what_was_spent(
    error: StageError | BackendAwayError,
) -> None:
    error.spent = 7
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(arrived) is type(error)
    assert (arrived.message, arrived.code, arrived.spent) == (error.message, error.code, 7)
    assert vars(arrived) == vars(error)
