"""Key-encryption keys in Google Cloud KMS (the extra `gcp`). The keys never leave it.

Organization and version are the additional authenticated data of each call.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from core.errors import UnavailableError
from core.vault.kek import REMOTE_TIMEOUT_SECONDS, Wrapped, binding, not_its_own, reading, unwrapped

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_WHO = "Google Cloud KMS"
_NOT_ITS_OWN = "INVALID_ARGUMENT"
"""Its answer to a ciphertext that does not open. Its other 400s, for a disabled key version say, tell of the key."""


class GoogleKeys:
    """Wraps data keys with one crypto key; its id here is the full name of the key's version."""

    provider = "google"

    def __init__(self, key_name: str, endpoint: str | None = None, credentials: "Credentials | None" = None) -> None:
        """`key_name`: projects/…/locations/…/keyRings/…/cryptoKeys/…. Without `credentials`, the default ones."""
        # here, so that only those who use it pay for its import
        from google.api_core.client_options import ClientOptions
        from google.cloud import kms_v1

        self._key_name = key_name
        self._client = kms_v1.KeyManagementServiceClient(
            credentials=credentials, transport="rest", client_options=ClientOptions(api_endpoint=endpoint)
        )

    def current_kek_id(self) -> str:
        """The key's primary version."""
        found = _answered(self._client.get_crypto_key, {"name": self._key_name})
        return f"google:{_present(found.primary.name)}"

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key under the primary version."""
        request = {
            "name": self._key_name,
            "plaintext": key,
            "additional_authenticated_data": binding(internal_id, version),
        }
        answer = _answered(self._client.encrypt, request)
        return Wrapped(f"google:{_present(answer.name)}", _present(answer.ciphertext))

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError, UnavailableError."""
        request = {
            "name": self._key_name,
            "ciphertext": wrapped.blob,
            "additional_authenticated_data": binding(internal_id, version),
        }
        answer = _answered(self._client.decrypt, request, opens=True)
        with reading(_WHO):
            return unwrapped(bytes(answer.plaintext))


def _present(field: Any) -> Any:
    """A field of an answer; one that was not there reads as empty."""
    if not field:
        raise UnavailableError(f"{_WHO} gave an answer without what was asked for.")
    return field


def _answered(call: Callable[..., Any], request: Mapping[str, Any], opens: bool = False) -> Any:
    from google.api_core.exceptions import BadRequest, GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.protobuf.json_format import ParseError
    from requests.exceptions import RequestException

    try:
        with reading(_WHO):
            return call(request=request, timeout=REMOTE_TIMEOUT_SECONDS)
    except BadRequest as error:
        status = _status_of(error)
        if opens and status == _NOT_ITS_OWN:
            raise not_its_own() from error
        raise UnavailableError(f"{_WHO} refused: {status}.") from error
    except ParseError:
        # its text repeats what was answered
        raise UnavailableError(f"{_WHO} gave an answer that cannot be read.") from None
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise UnavailableError(f"{_WHO} does not answer: {type(error).__name__}.") from error


def _status_of(error: Any) -> str:
    """The name of what was wrong, which the REST transport leaves in the response."""
    try:
        return str(error.response.json()["error"]["status"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return "400"
