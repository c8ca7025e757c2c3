"""The world outside for canaries: model providers and a service that give back what they were sent, as rudely as told.

What they were sent is theirs to know; nothing that they keep is searched.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

from tests.llm_provider import Asked, Reply


def rude_provider(asked: Asked) -> Reply:
    """Answers as the prompt says; each answer but `FINE` has the key that was sent in it."""
    [sent] = asked.auth.values()
    key = sent.removeprefix("Bearer ")
    echo = json.dumps(in_all_forms(key))
    headers = {"X-Echo": quote(key), "X-Echo-Base64": base64.b64encode(key.encode()).decode(), "Retry-After": "0"}
    prompt = json.dumps(asked.body)
    if "BODY400" in prompt:
        # the body is the protocol's error, with the key in its text
        return Reply(status=400)
    if "HEADERS401" in prompt:
        return Reply(status=401, headers=headers)
    if "GARBAGE200" in prompt:
        return Reply(raw=b"no JSON: " + sent.encode(), headers=headers)
    if "CUTOFF" in prompt:
        return Reply(status=500, raw=f"Traceback: key={sent!r}".encode(), headers=headers, truncated=True)
    if "EXPLAINED" in prompt:
        return Reply(json.dumps({"keep": True, "passes": True, "reasoning": echo, "queries": [echo]}), headers=headers)
    if "WRONGTYPE" in prompt:
        return Reply(json.dumps({"score": key}))
    return Reply("fine" if "FINE" in prompt else echo, headers=headers)


def in_all_forms(text: str) -> dict[str, Any]:
    """A text in every form, as a value and as a name."""
    content = text.encode()
    return {
        "plain": text,
        "in a sentence": f"the key is <{text}>, said twice: {text}{text}",
        "base64": [base64.b64encode(b"x" * before + content + b"yz").decode() for before in range(3)],
        "urlsafe": [base64.urlsafe_b64encode(b"x" * before + content).decode() for before in range(3)],
        "url": quote(text, safe=""),
        "json": json.dumps({"inner": text}),
        text: ["as a name", {"deep": [text]}],
    }


@contextmanager
def echo_service() -> Iterator[str]:
    """A service that answers with its request's headers and path; its URL."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        listener.shutdown()
        listener.server_close()


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """One request: the path's first part says how it is answered."""
        heard = {"path": unquote(self.path), **{name: in_all_forms(value) for name, value in self.headers.items()}}
        if (authorization := self.headers["Authorization"] or "").startswith("Basic "):
            heard["decoded"] = in_all_forms(base64.b64decode(authorization[6:]).decode())
        if "?" in self.path:
            heard["query"] = in_all_forms(unquote(self.path.partition("=")[2]))
        body = json.dumps(heard).encode()
        if self.path.startswith("/garbage"):
            body = b"{" + body
        if self.path.startswith("/surrogate"):
            body = json.dumps({"heard": heard, "broken": "\ud800"}).encode()
        self.send_response(400 if self.path.startswith("/refused") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Echo", quote(json.dumps(dict(self.headers)))[:4000])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
