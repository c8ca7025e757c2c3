"""The one error tree. It knows nothing of HTTP; `api/errors.py` maps each kind to a status.

KeystageError
├── InvalidRequestError        the caller sent something unusable
│   └── ValidationFailedError  … and each bad field is named
├── UnauthenticatedError       no valid key
│   └── KeyRejectedError       … but one that was ours: revoked, expired or suspended
├── PermissionDeniedError      the key may not do this
├── InsufficientCreditsError   a hold was refused
├── NotFoundError              absent, or another tenant's: never told apart
├── AlreadyExistsError         the name is taken
├── ConflictError              not now: another one is doing it, or the state forbids it
│   └── SecretUnreadableError  … a stored value does not open
├── TooManyRequestsError       over a rate, or too much under way
├── PayloadTooLargeError       over a stated cap
├── UnsupportedMediaError      a type nobody here can read
├── EgressDeniedError          an address that may not be called from here
├── UnavailableError           not now; try again
│   ├── BackendAwayError       … because a named backend does not answer
│   └── ActorLostError         … because the process that ran the stages ended under the call
├── UnfitDatabaseError         the database does not do what we rely on
├── LeaseLostError             a newer claim owns the job or delivery
├── IntegrityError             stored data is not what was written
└── StageError                 a stage failed for a reason the customer may read
    ├── StageUnavailableError  the stage does not exist in this version
    └── SecretUnusableError    a secret that the stage names cannot be used

A docstring is the default message. Data goes into attributes and is safe to show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from core.backends.backend import TITLES, Backend


class KeystageError(Exception):
    """Something went wrong in Keystage."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.details: Mapping[str, Any] = details
        super().__init__(self.message)


class InvalidRequestError(KeystageError):
    """The request could not be understood."""

    code = "bad_request"


@dataclass(frozen=True)
class FieldProblem:
    """One bad field: where it is, and what would be right."""

    location: tuple[str | int, ...]
    message: str
    kind: str = "value_error"


class ValidationFailedError(InvalidRequestError):
    """The request has fields that are not valid."""

    code = "validation_failed"

    def __init__(self, problems: list[FieldProblem], message: str | None = None) -> None:
        self.problems = problems
        first = problems[0] if problems else None
        where = ".".join(str(part) for part in first.location) if first else ""
        super().__init__(message or (f"{where}: {first.message}" if first else None))


class UnauthenticatedError(KeystageError):
    """A valid API key is required: send `Authorization: Bearer <api_key>`."""

    code = "unauthorized"


KEY_REJECTED = (
    "This API key does not work: it is unknown, revoked, expired or unused for too long, or its user is not active."
)
"""Said of every key that is well formed, whichever of these it is."""


class KeyRejectedError(UnauthenticatedError):
    """A key that we know does not work."""

    def __init__(self, key: Any) -> None:
        super().__init__(KEY_REJECTED)
        self.key = key
        """the ApiKey, for the audit log; the caller is told what every stranger is told"""


class PermissionDeniedError(KeystageError):
    """This API key does not have the permission that the route needs."""

    code = "forbidden"


class InsufficientCreditsError(KeystageError):
    """The organization does not have enough credits for this operation."""

    code = "insufficient_credits"


class NotFoundError(KeystageError):
    """The resource was not found."""

    code = "not_found"


class AlreadyExistsError(KeystageError):
    """A resource with this name exists already."""

    code = "already_exists"


class ConflictError(KeystageError):
    """The resource is in a state that does not allow this."""

    code = "conflict"


class SecretUnreadableError(ConflictError):
    """This version of the secret cannot be read: give the secret a new value."""

    code = "secret_unreadable"


class TooManyRequestsError(KeystageError):
    """Too many requests: wait as long as Retry-After says, then try again."""

    code = "rate_limited"


class PayloadTooLargeError(KeystageError):
    """The body is larger than this route accepts."""

    code = "payload_too_large"


class UnsupportedMediaError(KeystageError):
    """This content type is not supported."""

    code = "unsupported_media_type"


class EgressDeniedError(KeystageError):
    """This address may not be called: it is not public, and the operator has not allowed it."""

    code = "egress_denied"


class UnavailableError(KeystageError):
    """A service that Keystage needs does not answer; try again shortly."""

    code = "unavailable"


class BackendAwayError(UnavailableError):
    """A backend that Keystage needs does not answer; try again shortly."""

    spent = 0
    """milli-credits, as of a StageError"""

    def __init__(self, backend: Backend, did: str = "does not answer", *, silent: bool = False) -> None:
        """`did` follows the backend's name in the message. `silent`: it took the call and said nothing, which a call
        that is too much for it brings about too; otherwise it refused, broke off, or said itself that it is away."""
        super().__init__(f"{TITLES[backend]} {did}.", backend=backend.value)
        self.backend = backend
        self.did = did
        self.silent = silent

    def __reduce__(self) -> tuple[object, ...]:
        return (_away, (self.backend, self.did, self.silent), vars(self))


def _away(backend: Backend, did: str, silent: bool) -> BackendAwayError:
    return BackendAwayError(backend, did, silent=silent)


class ActorLostError(UnavailableError):
    """The process that ran the stages ended under the call, while Ray itself answers: the call may be what ended it."""


class UnfitDatabaseError(KeystageError):
    """The database does not do what Keystage relies on."""

    code = "unfit_database"


class LeaseLostError(KeystageError):
    """A newer claim owns this record; the older owner must stop."""

    code = "lease_lost"


class IntegrityError(KeystageError):
    """A stored record is not what was written."""

    code = "integrity_error"


class StageError(KeystageError):
    """A stage could not do its work."""

    code = "stage_failed"
    spent = 0
    """milli-credits for models that the execution had asked with the platform's key by then"""


class StageUnavailableError(StageError):
    """This stage is not available in this version of Keystage."""

    code = "stage_unavailable"


class SecretUnusableError(StageError):
    """A secret that this stage names cannot be used."""

    code = "secret_unusable"

    def __init__(self, name: str, code: str, why: str) -> None:
        """`code` is one of secret_missing, secret_expired, secret_disabled, secret_wrong_namespace,
        secret_host_mismatch, secret_unreadable. The message names the secret and nothing else of it."""
        super().__init__(f"The secret {name!r} {why}.", secret_name=name)
        self.name = name
        self.code = code  # type: ignore[misc]  # one class, a closed list of codes

    def __reduce__(self) -> tuple[object, ...]:
        why = self.message.split("' ", 1)[-1].removesuffix(".")
        return (SecretUnusableError, (self.name, self.code, why), vars(self))
