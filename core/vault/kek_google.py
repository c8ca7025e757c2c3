"""Key-encryption keys in Google Cloud KMS (the extra `gcp`). The keys never leave it.

Organization and version are the additional authenticated data of each call.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.errors import UnavailableError
from core.vault.kek import Wrapped, binding, not_its_own

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


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
        found = _answered(lambda: self._client.get_crypto_key(request={"name": self._key_name}))
        return f"google:{found.primary.name}"

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key under the primary version."""
        request = {
            "name": self._key_name,
            "plaintext": key,
            "additional_authenticated_data": binding(internal_id, version),
        }
        answer = _answered(lambda: self._client.encrypt(request=request))
        return Wrapped(f"google:{answer.name}", bytes(answer.ciphertext))

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError, UnavailableError."""
        request = {
            "name": self._key_name,
            "ciphertext": wrapped.blob,
            "additional_authenticated_data": binding(internal_id, version),
        }
        return bytes(_answered(lambda: self._client.decrypt(request=request)).plaintext)


def _answered(call: Callable[[], Any]) -> Any:
    from google.api_core.exceptions import BadRequest, GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        return call()
    except BadRequest as error:
        raise not_its_own() from error
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise UnavailableError(f"Google Cloud KMS does not answer: {type(error).__name__}.") from error
