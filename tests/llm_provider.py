"""The providers of language models for tests: one local HTTP server that speaks the protocols of all three.

It reads requests and writes answers in the shapes of their official clients, keeps what it was sent, and fails as told.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

AUTH_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
INPUT_TOKENS, OUTPUT_TOKENS = 11, 7
"""What each answer says it used."""


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    provider: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def auth(self) -> dict[str, str]:
        """Its headers that carry a credential."""
        return {name: value for name, value in self.headers.items() if name in AUTH_HEADERS}

    @property
    def prompt(self) -> str:
        """The user's message."""
        if self.provider == "google":
            return str(self.body["contents"][0]["parts"][0]["text"])
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else str(content[0]["text"])

    @property
    def schema(self) -> Any:
        """The JSON schema that the answer must fit, if any."""
        match self.provider:
            case "openai":
                return self.body.get("response_format", {}).get("json_schema", {}).get("schema")
            case "anthropic":
                return self.body["tools"][0]["input_schema"] if "tools" in self.body else None
            case _:
                return self.body.get("generationConfig", {}).get("responseJsonSchema")


@dataclass(frozen=True)
class Reply:
    """What the server does with a request: the model's text, or a failure."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """sent instead of an answer of the protocol"""
    truncated: bool = False
    """whether the body ends early"""
    withheld: bool = False
    """whether the model declines"""
    finish: str | None = None
    """the provider's word for why the answer ended, in place of the usual one"""


Answering = Callable[[Asked], Reply]


def says(text: str) -> Answering:
    """Every answer is this text."""
    return lambda _: Reply(text)


def scripted(provider: str, content: Any, finish: str | None = "stop", **changes: Any) -> bytes:
    """An answer of the protocol with this content, which may be anything, and other members put in or changed.

    The content is the `content` of OpenAI's message and of Anthropic's answer, and the `parts` of Google's candidate.
    """
    asked = Asked(provider, "/v1beta/models/m:generateContent", {}, {"model": "m"})
    answer: dict[str, Any] = _ANSWERS[provider](asked, Reply())
    match provider:
        case "openai":
            answer["choices"][0]["message"]["content"] = content
            answer["choices"][0]["finish_reason"] = finish
        case "anthropic":
            answer.update(content=content, stop_reason=finish)
        case _:
            answer["candidates"][0]["content"]["parts"] = content
            answer["candidates"][0]["finishReason"] = finish
    return json.dumps({**answer, **changes}).encode()


def content_of(provider: str, text: str) -> Any:
    """A text as the content of a scripted answer."""
    return text if provider == "openai" else [{"type": "text", "text": text}]


def counts(provider: str, read: Any, written: Any) -> dict[str, Any]:
    """The member of an answer that says what was used."""
    match provider:
        case "openai":
            return {"usage": {"prompt_tokens": read, "completion_tokens": written}}
        case "anthropic":
            return {"usage": {"input_tokens": read, "output_tokens": written}}
        case _:
            return {"usageMetadata": {"promptTokenCount": read, "candidatesTokenCount": written}}


class LlmServer:
    """Keeps requests; answers with `replies` in turn and then by `default`."""

    def __init__(self, url: str, default: Answering) -> None:
        self.url = url
        self.default = default
        self.replies: list[Reply] = []
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    def base_url(self, provider: str) -> str:
        """Where a client of this provider finds the server."""
        return f"{self.url}/v1" if provider == "openai" else self.url

    def take(self, asked: Asked) -> Reply:
        """Count a request in, and what it is answered."""
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            if self.replies:
                return self.replies.pop(0)
        return self.default(asked)

    def done(self) -> None:
        """Count a request out."""
        with self._lock:
            self._now -= 1


@contextmanager
def llm_server(default: Answering | None = None) -> Iterator[LlmServer]:
    """A server on a free port of 127.0.0.1."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    listener.daemon_threads = True
    state = LlmServer(f"http://127.0.0.1:{listener.server_address[1]}", default or says("an answer"))
    listener.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        listener.shutdown()
        listener.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One question."""
        state: LlmServer = self.server.state  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(_provider_of(self.path), self.path, headers, body)
        reply = state.take(asked)
        try:
            self._answer(asked, reply)
        except (BrokenPipeError, ConnectionResetError):
            # the client did not wait, as it should when its time is up
            self.close_connection = True
        finally:
            state.done()

    def _answer(self, asked: Asked, reply: Reply) -> None:
        shape = _ERRORS if reply.status >= 400 else _ANSWERS
        body = reply.raw if reply.raw is not None else json.dumps(shape[asked.provider](asked, reply)).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + (100 if reply.truncated else 0)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if reply.truncated:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _provider_of(path: str) -> str:
    if path.startswith("/v1beta/models/") and path.endswith(":generateContent"):
        return "google"
    return {"/v1/chat/completions": "openai", "/v1/messages": "anthropic"}[path]


def _openai(asked: Asked, reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text, "refusal": "I cannot" if reply.withheld else None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": asked.body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish or "stop", "logprobs": None}],
        "usage": {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    }


def _anthropic(asked: Asked, reply: Reply) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}]
    if asked.schema is not None:
        given = _json_or_none(reply.text)
        content = [{"type": "tool_use", "id": "toolu_1", "name": asked.body["tools"][0]["name"], "input": given}]
    reason = "refusal" if reply.withheld else "end_turn" if asked.schema is None else "tool_use"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.body["model"],
        "content": content,
        "stop_reason": reply.finish or reason,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }


def _google(asked: Asked, reply: Reply) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": reply.text}]}
    reason = "SAFETY" if reply.withheld else "STOP"
    return {
        "candidates": [{"content": content, "finishReason": reply.finish or reason, "index": 0}],
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        },
        "modelVersion": asked.path.rpartition("/")[2].partition(":")[0],
        "responseId": "r1",
    }


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"unreadable": text}


def _repeating(asked: Asked, reply: Reply) -> str:
    """An error's text as the worst of providers write it: with the credential in it."""
    return f"HTTP {reply.status} for {' '.join(asked.auth.values())}"


_ANSWERS: dict[str, Callable[[Asked, Reply], Any]] = {"openai": _openai, "anthropic": _anthropic, "google": _google}
_ERRORS: dict[str, Callable[[Asked, Reply], Any]] = {
    "openai": lambda asked, reply: {
        "error": {"message": _repeating(asked, reply), "type": "invalid_request_error", "param": None, "code": None}
    },
    "anthropic": lambda asked, reply: {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": _repeating(asked, reply)},
    },
    "google": lambda asked, reply: {
        "error": {"code": reply.status, "message": _repeating(asked, reply), "status": "INVALID_ARGUMENT"}
    },
}
