"""Local servers that speak the APIs of key-management services: Vault's transit engine, and Google Cloud KMS by REST.

They encrypt for real, with AES-256-GCM, and hold associated data against what was given before.
"""

import base64
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "a-token-of-the-transit-engine"


class KeyServer:
    """Versions of one key, and who may use it."""

    def __init__(self) -> None:
        self.versions = [AESGCM(AESGCM.generate_key(256))]
        self.url = ""
        self.seen: list[dict[str, Any]] = []
        """bodies of requests"""
        self.disabled = False
        """whether an operator has switched the key off"""

    def rotate(self) -> None:
        """Make a new version the current one."""
        self.versions.append(AESGCM(AESGCM.generate_key(256)))

    def encrypt(self, plaintext: bytes, bound: bytes) -> bytes:
        """Nonce and ciphertext under the newest version."""
        nonce = os.urandom(12)
        return nonce + self.versions[-1].encrypt(nonce, plaintext, bound)

    def decrypt(self, version: int, blob: bytes, bound: bytes) -> bytes:
        """The plaintext. Raises InvalidTag."""
        return self.versions[version - 1].decrypt(blob[:12], blob[12:], bound)

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body: what JSON can say, or bytes as they are."""
        raise NotImplementedError


class NonsenseServer(KeyServer):
    """What stands in a service's place and knows nothing of keys: a proxy's page, or another service."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__()
        self._answer = status, content

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, Any]:
        return self._answer


class TransitServer(KeyServer):
    """The transit engine: keys, encrypt and decrypt with `associated_data`."""

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if headers.get("X-Vault-Token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        bound = base64.b64decode(body.get("associated_data", ""))
        match (method, path):
            case ("GET", "/v1/transit/keys/keystage"):
                return 200, {"data": {"name": "keystage", "latest_version": len(self.versions)}}
            case ("POST", "/v1/transit/encrypt/keystage"):
                blob = base64.b64encode(self.encrypt(base64.b64decode(body["plaintext"]), bound)).decode()
                return 200, {"data": {"ciphertext": f"vault:v{len(self.versions)}:{blob}"}}
            case ("POST", "/v1/transit/decrypt/keystage"):
                found = re.fullmatch(r"vault:v(\d+):(.+)", body["ciphertext"])
                if found is None:
                    return 400, {"errors": ["invalid ciphertext: no prefix"]}
                try:
                    plaintext = self.decrypt(int(found[1]), base64.b64decode(found[2]), bound)
                except (InvalidTag, ValueError):
                    return 400, {"errors": ["cipher: message authentication failed"]}
                return 200, {"data": {"plaintext": base64.b64encode(plaintext).decode()}}
        return 404, {"errors": []}


GOOGLE_KEY = "projects/p/locations/global/keyRings/r/cryptoKeys/k"


class GoogleKmsServer(KeyServer):
    """Cloud KMS: get, encrypt and decrypt of one crypto key."""

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        primary = f"{GOOGLE_KEY}/cryptoKeyVersions/{len(self.versions)}"
        bound = base64.b64decode(body.get("additionalAuthenticatedData", ""))
        if self.disabled and method == "POST":
            message = f"{primary} is not enabled, current state is: DISABLED."
            return 400, {"error": {"code": 400, "message": message, "status": "FAILED_PRECONDITION"}}
        match (method, path.partition("?")[0]):
            case ("GET", where) if where == f"/v1/{GOOGLE_KEY}":
                return 200, {"name": GOOGLE_KEY, "primary": {"name": primary, "state": "ENABLED"}}
            case ("POST", where) if where == f"/v1/{GOOGLE_KEY}:encrypt":
                blob = len(self.versions).to_bytes(4, "big") + self.encrypt(base64.b64decode(body["plaintext"]), bound)
                return 200, {"name": primary, "ciphertext": base64.b64encode(blob).decode()}
            case ("POST", where) if where == f"/v1/{GOOGLE_KEY}:decrypt":
                # what is empty is not sent
                blob = base64.b64decode(body.get("ciphertext", ""))
                try:
                    plaintext = self.decrypt(int.from_bytes(blob[:4], "big"), blob[4:], bound)
                except (InvalidTag, IndexError, ValueError):
                    message = "Decryption failed: verify that 'name' refers to the correct CryptoKey."
                    return 400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
                return 200, {"plaintext": base64.b64encode(plaintext).decode()}
        return 404, {"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}}


@contextmanager
def running(server: KeyServer) -> Iterator[KeyServer]:
    """Serve on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            server.seen.append(body)
            status, answer = server.answer(self.command, self.path, self.headers, body)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            # whoever asked may be gone by now
            with suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: requests carry keys."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
