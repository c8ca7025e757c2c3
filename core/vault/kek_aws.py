"""Key-encryption keys in AWS KMS (the extra `aws`). The keys never leave it.

Organization and version are the encryption context, which KMS demands again to decrypt and writes into CloudTrail.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from config.beside import Bounded
from core.backends.absence import CONNECT_SECONDS
from core.errors import KeystageError, UnavailableError
from core.vault.kek import Wrapped, not_its_own, reading, unwrapped
from core.vault.kek_remote import SECONDS, THREADS, Calls, absence, misused, refusal

_WHO = "AWS KMS"
_NOT_ITS_OWN = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_BUSY = frozenset({"ThrottlingException", "LimitExceededException", "TooManyRequestsException"})


class AwsKeys:
    """Wraps data keys with one KMS key. Naming it by an alias lets the alias move to a new key."""

    provider = "aws"

    def __init__(self, key_id: str, region: str | None, endpoint_url: str | None) -> None:
        """Credentials come from the places where boto3 looks: a role, a profile, variables."""
        # here, so that only those who use it pay for its import
        import boto3
        from botocore.config import Config

        self._key_id = key_id
        config = Config(
            # its own bounds hold for each byte; ours hold for the whole, and a thread of ours ends with these
            connect_timeout=CONNECT_SECONDS,
            read_timeout=SECONDS,
            retries={"total_max_attempts": 1},
        )
        self._calls = Calls()
        self._bounded = Bounded("aws-kms", THREADS)
        self._client: Any = boto3.client("kms", region_name=region, endpoint_url=endpoint_url, config=config)

    def current_kek_id(self) -> str:
        """The key that the configured name stands for now."""
        answer = self._answer("describe_key", KeyId=self._key_id)
        with reading(_WHO):
            return f"aws:{answer['KeyMetadata']['Arn']}"

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key."""
        context = _context(internal_id, version)
        answer = self._answer("encrypt", KeyId=self._key_id, Plaintext=key, EncryptionContext=context)
        with reading(_WHO):
            return Wrapped(f"aws:{answer['KeyId']}", bytes(answer["CiphertextBlob"]))

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError, BackendAwayError."""
        answer = self._answer(
            "decrypt",
            KeyId=wrapped.kek_id.partition(":")[2],
            CiphertextBlob=wrapped.blob,
            EncryptionContext=_context(internal_id, version),
        )
        with reading(_WHO):
            return unwrapped(bytes(answer["Plaintext"]))

    def probe(self) -> None:
        """Wrap a key in vain."""
        self._calls.probe(self.wrap)

    def _answer(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import ParamValidationError

        method = getattr(self._client, operation)

        def call() -> dict[str, Any]:
            # its parsers fall over what they do not expect
            with reading(_WHO):
                answer: dict[str, Any] = method(**arguments)
                return answer

        try:
            return self._calls.make(lambda seconds: self._one_try(call, seconds))
        except ParamValidationError:
            # nothing was sent. What is stored may be no key; any other request is of our own making
            raise not_its_own() if operation == "decrypt" else misused(_WHO) from None

    def _one_try(self, call: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        try:
            return self._bounded.within(seconds, call)
        except TimeoutError as error:
            raise absence(_WHO, "does not answer in time", silent=True) from error
        except ParamValidationError:
            raise
        except ClientError as error:
            raise _refused(error.response) from error
        except BotoCoreError as error:
            raise _failed(error) from error


def _refused(response: Mapping[str, Any]) -> KeystageError:
    code = response["Error"]["Code"]
    if code in _NOT_ITS_OWN:
        return not_its_own()
    status = HTTPStatus.TOO_MANY_REQUESTS if code in _BUSY else response["ResponseMetadata"]["HTTPStatusCode"]
    return refusal(_WHO, status, code)


def _failed(error: Exception) -> UnavailableError:
    from botocore.exceptions import ReadTimeoutError

    silent = isinstance(error, ReadTimeoutError)
    return absence(_WHO, f"does not answer: {type(error).__name__}", silent=silent)


def _context(internal_id: str, version: int) -> dict[str, str]:
    return {"purpose": "ks-kek-v1", "organization": internal_id, "version": str(version)}
