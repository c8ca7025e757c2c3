"""Key-encryption keys in AWS KMS (the extra `aws`). The keys never leave it.

Organization and version are the encryption context, which KMS demands again to decrypt and writes into CloudTrail.
"""

from typing import Any

from core.errors import UnavailableError
from core.vault.kek import REMOTE_TIMEOUT_SECONDS, Wrapped, not_its_own, reading, unwrapped

_WHO = "AWS KMS"
_NOT_ITS_OWN = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_TRIES = 2
"""Of one call: somebody waits for it."""


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
            connect_timeout=REMOTE_TIMEOUT_SECONDS,
            read_timeout=REMOTE_TIMEOUT_SECONDS,
            retries={"total_max_attempts": _TRIES},
        )
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
        """The data key. Raises IntegrityError, UnavailableError."""
        answer = self._answer(
            "decrypt",
            KeyId=wrapped.kek_id.partition(":")[2],
            CiphertextBlob=wrapped.blob,
            EncryptionContext=_context(internal_id, version),
        )
        with reading(_WHO):
            return unwrapped(bytes(answer["Plaintext"]))

    def _answer(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            # its parsers fall over what they do not expect
            with reading(_WHO):
                answer: dict[str, Any] = getattr(self._client, operation)(**arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _NOT_ITS_OWN:
                raise not_its_own() from error
            raise UnavailableError(f"{_WHO} refused: {code}.") from error
        except BotoCoreError as error:
            raise UnavailableError(f"{_WHO} does not answer: {type(error).__name__}.") from error
        return answer


def _context(internal_id: str, version: int) -> dict[str, str]:
    return {"purpose": "ks-kek-v1", "organization": internal_id, "version": str(version)}
