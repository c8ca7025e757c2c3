"""Key-encryption keys in the transit engine of HashiCorp Vault or OpenBao. The keys never leave it.

Organization and version are the associated data of each call, so the transit key must be of an AEAD type.
"""

import base64
from typing import Any

import httpx
from pydantic import SecretStr

from core.errors import UnavailableError
from core.vault.kek import Wrapped, binding, not_its_own

_TIMEOUT_SECONDS = 10.0
_REFUSED = 400
"""Transit's answer to a ciphertext that does not open, or whose associated data differs."""


class TransitKeys:
    """Wraps data keys with one named transit key; its id here names the version too: `transit:<key>:v<n>`."""

    provider = "transit"

    def __init__(self, url: str, token: SecretStr, key_name: str, mount: str = "transit") -> None:
        self._base = f"{url.rstrip('/')}/v1/{mount}"
        self._key_name = key_name
        headers = {"X-Vault-Token": token.get_secret_value(), "X-Vault-Request": "true"}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT_SECONDS)

    def current_kek_id(self) -> str:
        """The key's newest version."""
        found = self._answer("GET", f"keys/{self._key_name}", None)
        return self._id(f"v{found['latest_version']}")

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key under the newest version."""
        body = {"plaintext": _text(key), "associated_data": _text(binding(internal_id, version))}
        ciphertext: str = self._answer("POST", f"encrypt/{self._key_name}", body)["ciphertext"]
        return Wrapped(self._id(ciphertext.split(":")[1]), ciphertext.encode())

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError, UnavailableError."""
        body = {"ciphertext": wrapped.blob.decode(), "associated_data": _text(binding(internal_id, version))}
        return base64.b64decode(self._answer("POST", f"decrypt/{self._key_name}", body)["plaintext"])

    def _id(self, key_version: str) -> str:
        return f"transit:{self._key_name}:{key_version}"

    def _answer(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        try:
            response = self._client.request(method, f"{self._base}/{path}", json=body)
        except httpx.HTTPError as error:
            raise UnavailableError("The transit engine does not answer.") from error
        if response.status_code == _REFUSED and path.startswith("decrypt/"):
            raise not_its_own()
        if not response.is_success:
            # its text may repeat what was sent
            raise UnavailableError(f"The transit engine answered {response.status_code}.")
        data: dict[str, Any] = response.json()["data"]
        return data


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
