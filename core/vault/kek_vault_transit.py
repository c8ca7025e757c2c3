"""Key-encryption keys in the transit engine of HashiCorp Vault or OpenBao. The keys never leave it.

Organization and version are the associated data of each call, so the transit key must be of an AEAD type.
"""

import base64
import json
import zlib
from typing import Any

import httpx2
from pydantic import SecretStr

from core.backends.absence import CONNECT_SECONDS, absence_in_error
from core.backends.backend import Backend
from core.egress.fetch import Answer, Outgoing, exchange
from core.egress.transport import outbound_client
from core.errors import PayloadTooLargeError, UnavailableError
from core.vault.kek import Wrapped, binding, not_its_own, reading, unwrapped
from core.vault.kek_remote import Calls, absence, refusal

_WHO = "the transit engine"
_REFUSED = 400
"""Transit's answer to a ciphertext that does not open, or whose associated data differs."""
_MOST_ANSWER_BYTES = 1024 * 1024


class TransitKeys:
    """Wraps data keys with one named transit key; its id here names the version too: `transit:<key>:v<n>`."""

    provider = "transit"

    def __init__(self, url: str, token: SecretStr, key_name: str, mount: str = "transit") -> None:
        self._base = f"{url.rstrip('/')}/v1/{mount}"
        self._key_name = key_name
        self._headers = {"X-Vault-Token": token.get_secret_value(), "X-Vault-Request": "true"}
        # the authorities of the environment, too: many a Vault has one of its own
        trust = httpx2.create_ssl_context()
        self._client = outbound_client(None, connect_seconds=CONNECT_SECONDS, trust=trust)
        self._calls = Calls()

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
        """The data key. Raises IntegrityError, BackendAwayError."""
        # what was changed into no text does not open either
        ciphertext = wrapped.blob.decode(errors="replace")
        body = {"ciphertext": ciphertext, "associated_data": _text(binding(internal_id, version))}
        response = self._answer("POST", f"decrypt/{self._key_name}", body)
        with reading(_WHO):
            return unwrapped(base64.b64decode(_data_of(response)["plaintext"]))

    def probe(self) -> None:
        """Wrap a key in vain."""
        self._calls.probe(self.wrap)

    def _id(self, key_version: str) -> str:
        return f"transit:{self._key_name}:{key_version}"

    def _answer(self, method: str, path: str, body: dict[str, str] | None) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        request = Outgoing(method, f"{self._base}/{path}", self._headers, content)
        return self._calls.make(lambda seconds: self._one_try(request, seconds))

    def _one_try(self, request: Outgoing, seconds: float) -> Answer:
        try:
            answer = exchange(self._client, request, seconds, _MOST_ANSWER_BYTES)
        except (httpx2.HTTPError, PayloadTooLargeError, UnavailableError, zlib.error) as error:
            absent = absence_in_error(Backend.KEY_SERVICE, error)
            did = absent.did if absent else "gave an answer that cannot be read"
            raise absence(_WHO, did, silent=absent is not None and absent.silent) from error
        if answer.status == _REFUSED and "/decrypt/" in request.url:
            raise not_its_own()
        if not 200 <= answer.status < 300:
            # its text may repeat what was sent. A sealed one says 503
            raise refusal(_WHO, answer.status, f"HTTP {answer.status}")
        return answer


def _data_of(answer: Answer) -> Any:
    return json.loads(answer.body)["data"]


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
