"""An endpoint of embeddings for tests: it speaks OpenAI's protocol, takes so long for each text, and counts them."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSION = 16


class EmbeddingEndpoint:
    """Where it listens, and how slow it is."""

    def __init__(self, port: int, seconds_a_text: float) -> None:
        self.port = port
        self.seconds_a_text = seconds_a_text
        self.texts = 0
        """texts that it was asked for"""


@contextmanager
def embedding_endpoint(seconds_a_text: float = 0.0) -> Iterator[EmbeddingEndpoint]:
    """An endpoint on a free port of 127.0.0.1; its paths begin with /v1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            endpoint.texts += len(texts)
            time.sleep(endpoint.seconds_a_text * len(texts))
            rows = [{"index": number, "embedding": vector_of(text)} for number, text in enumerate(texts)]
            body = json.dumps({"object": "list", "data": rows}).encode()
            # whoever asked may be gone by now, or taken away
            with suppress(ConnectionError):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    endpoint = EmbeddingEndpoint(int(listener.server_address[1]), seconds_a_text)
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield endpoint
    finally:
        listener.shutdown()
        listener.server_close()


def vector_of(text: str) -> list[float]:
    """The same for the same text, and hardly the same for another."""
    return [byte / 255 - 0.5 for byte in hashlib.shake_128(text.encode()).digest(DIMENSION)]
