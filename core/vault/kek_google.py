"""Key-encryption keys in Google Cloud KMS (the extra `gcp`). The keys never leave it.

Organization and version are the additional authenticated data of each call.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from config.beside import Bounded
from core.backends.absence import CONNECT_SECONDS
from core.errors import KeystageError
from core.vault.kek import Wrapped, binding, not_its_own, reading, unwrapped
from core.vault.kek_remote import SECONDS, THREADS, Calls, absence, misused, refusal

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
        self._messages = kms_v1
        self._client = kms_v1.KeyManagementServiceClient(
            credentials=credentials, transport="rest", client_options=ClientOptions(api_endpoint=endpoint)
        )
        self._calls = Calls()
        self._bounded = Bounded("google-kms", THREADS)

    def current_kek_id(self) -> str:
        """The key's primary version."""
        found = self._answered(
            self._client.get_crypto_key, self._messages.GetCryptoKeyRequest, {"name": self._key_name}
        )
        return f"google:{_present(found.primary.name)}"

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key under the primary version."""
        request = {
            "name": self._key_name,
            "plaintext": key,
            "additional_authenticated_data": binding(internal_id, version),
        }
        answer = self._answered(self._client.encrypt, self._messages.EncryptRequest, request)
        return Wrapped(f"google:{_present(answer.name)}", _present(answer.ciphertext))

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError, BackendAwayError."""
        request = {
            "name": self._key_name,
            "ciphertext": wrapped.blob,
            "additional_authenticated_data": binding(internal_id, version),
        }
        answer = self._answered(self._client.decrypt, self._messages.DecryptRequest, request, opens=True)
        with reading(_WHO):
            return unwrapped(bytes(answer.plaintext))

    def probe(self) -> None:
        """Wrap a key in vain."""
        self._calls.probe(self.wrap)

    def _answered(
        self, call: Callable[..., Any], message: Callable[..., Any], request: Mapping[str, Any], opens: bool = False
    ) -> Any:
        try:
            # here, where a fault of ours does not pass for an answer that cannot be read
            asked = message(request)
        except (TypeError, ValueError):
            raise misused(_WHO) from None

        def ask() -> Any:
            # its own retries go on for a minute
            with reading(_WHO):
                return call(request=asked, timeout=_bounded, retry=None)

        return self._calls.make(lambda seconds: self._one_try(ask, seconds, opens))

    def _one_try(self, ask: Callable[[], Any], seconds: float, opens: bool) -> Any:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.protobuf.json_format import ParseError
        from requests.exceptions import RequestException

        try:
            return self._bounded.within(seconds, ask)
        except TimeoutError as error:
            raise absence(_WHO, "does not answer in time", silent=True) from error
        except ParseError:
            # its text repeats what was answered
            raise absence(_WHO, "gave an answer that cannot be read") from None
        except GoogleAPIError as error:
            raise _refused(error, opens) from error
        except (GoogleAuthError, RequestException) as error:
            raise _failed(error) from error


def _bounded(call: Callable[..., Any]) -> Callable[..., Any]:
    """Connecting and reading apart, which a plain number cannot say."""
    return partial(call, timeout=(CONNECT_SECONDS, SECONDS))


def _present(field: Any) -> Any:
    """A field of an answer; one that was not there reads as empty."""
    if not field:
        raise absence(_WHO, "gave an answer without what was asked for")
    return field


def _refused(error: Any, opens: bool) -> KeystageError:
    from google.api_core.exceptions import BadRequest

    if not isinstance(error, BadRequest):
        return refusal(_WHO, getattr(error, "code", None) or 0, type(error).__name__)
    status = _status_of(error)
    return not_its_own() if opens and status == _NOT_ITS_OWN else absence(_WHO, f"refuses: {status}")


def _failed(error: Exception) -> KeystageError:
    from requests.exceptions import ReadTimeout

    return absence(_WHO, f"does not answer: {type(error).__name__}", silent=isinstance(error, ReadTimeout))


def _status_of(error: Any) -> str:
    """The name of what was wrong, which the REST transport leaves in the response."""
    try:
        return str(error.response.json()["error"]["status"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return "400"
