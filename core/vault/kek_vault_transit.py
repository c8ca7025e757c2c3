"""Key-encryption keys in the transit engine of HashiCorp Vault or OpenBao. The keys never leave it.

Organization and version are the associated data of each call, so the transit key must be of an AEAD type.
"""

import base64
from typing import Any

import httpx
from pydantic import SecretStr

from core.errors import UnavailableError
from core.vault.kek import REMOTE_TIMEOUT_SECONDS, Wrapped, binding, not_its_own, reading, unwrapped

_WHO = "The transit engine"
_REFUSED = 400
"""Transit's answer to a ciphertext that does not open, or whose associated data differs."""


class TransitKeys:
    """Wraps data keys with one named transit key; its id here names the version too: `transit:<key>:v<n>`."""

    provider = "transit"

    def __init__(self, url: str, token: SecretStr, key_name: str, mount: str = "transit") -> None:
        self._base = f"{url.rstrip('/')}/v1/{mount}"
        self._key_name = key_name
        headers = {"X-Vault-Token": token.get_secret_value(), "X-Vault-Request": "true"}
        self._client = httpx.Client(headers=headers, timeout=REMOTE_TIMEOUT_SECONDS)

    def current_kek_id(self) -> str:
        """The key's newest version."""
        response = self._answer("GET", f"keys/{self._key_name}", None)
        with reading(_WHO):
            return self._id(f"v{_data_of(response)['latest_version']}")

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key under the newest version."""
        body = {"plaintext": _text(key), "associated_data": _text(binding(internal_id, version))}
        response = self._answer("POST", f"encrypt/{self._key_name}", body)
        with reading(_WHO):
            ciphertext: str = _data_of(response)["ciphertext"]
            return Wrapped(self._id(ciphertext.split(":")[1]), ciphertext.encode())

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError, UnavailableError."""
        # what was changed into no text does not open either
        ciphertext = wrapped.blob.decode(errors="replace")
        body = {"ciphertext": ciphertext, "associated_data": _text(binding(internal_id, version))}
        response = self._answer("POST", f"decrypt/{self._key_name}", body)
        with reading(_WHO):
            return unwrapped(base64.b64decode(_data_of(response)["plaintext"]))

    def _id(self, key_version: str) -> str:
        return f"transit:{self._key_name}:{key_version}"

    def _answer(self, method: str, path: str, body: dict[str, str] | None) -> httpx.Response:
        try:
            response = self._client.request(method, f"{self._base}/{path}", json=body)
        except httpx.HTTPError as error:
            raise UnavailableError(f"{_WHO} does not answer.") from error
        if response.status_code == _REFUSED and path.startswith("decrypt/"):
            raise not_its_own()
        if not response.is_success:
            # its text may repeat what was sent
            raise UnavailableError(f"{_WHO} answered {response.status_code}.")
        return response


def _data_of(response: httpx.Response) -> Any:
    return response.json()["data"]


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
