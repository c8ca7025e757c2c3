"""Providers of models, by a server that speaks their protocols: whose key they get, and what their failures come to."""

import json
import threading
import traceback
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from core.credits.prices import ModelClass, llm_price
from core.errors import SecretUnusableError, StageError
from core.language_models.catalogue import catalogue
from core.retrievers.secret_places import with_default_credentials
from core.retrievers.stages import parse_stages
from core.vault.resolved import ResolvedSecret
from pipelines.llm.errors import LlmError, LlmFailure
from pipelines.llm.provider import Completion, LlmRequest
from tests.integration.model_world import (
    PLATFORM,
    PROVIDERS,
    VAULT,
    World,
    enrich,
    limit_one,
)
from tests.llm_provider import Asked, Reply, says

ENVIRONMENT = (
    "OPENAI_API_KEY",
    "OPENAI_ADMIN_KEY",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
)
_CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]


def test_each_provider_gets_exactly_the_key_that_is_meant(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = world.server
    server.default = says("short")
    # the clients look into the environment; nothing of it may travel
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "key-of-the-environment")
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Other-Key: key-of-the-environment")
    rows = []
    for provider in PROVIDERS:
        cases: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
            ("secret named", {"api_key": "{{secrets.mine}}"}, {"mine": VAULT[provider]}, VAULT[provider]),
            ("organization's default", {"api_key": None}, {"mine": VAULT[provider]}, VAULT[provider]),
            ("nothing named", {}, {}, PLATFORM[provider]),
            # a secret that happens to be called like a provider is no default
            ("another secret resolved", {}, {provider: "not-for-this"}, PLATFORM[provider]),
        ]
        for case, parameters, secrets, expected in cases:
            server.asked.clear()
            stage = enrich(provider=provider, **parameters)
            if case == "organization's default":
                stored = parse_stages([stage])[0].to_stored()
                stage = dict(with_default_credentials([stored], {provider: "mine"}, {}, catalogue())[0])
            result = world.run(stage, secrets=secrets)
            assert [document["summary"] for document in result.documents] == ["short"] * 3
            for asked in server.asked:
                assert asked.provider == provider
                [(header, sent)] = asked.auth.items()
                assert sent.removeprefix("Bearer ") == expected
                assert "key-of-the-environment" not in str(asked)
                assert not any(name.startswith(("x-stainless", "x-goog-api-client")) for name in asked.headers)
            rows.append((provider, case, header, "vault" if expected == VAULT[provider] else "platform"))
    with capsys.disabled():
        print("\nprovider   key_in_the_stage         header           value")
        for row in rows:
            print(f"{row[0]:10} {row[1]:24} {row[2]:16} {row[3]}")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_named_secret_that_fails_never_falls_back_to_the_platforms_key(world: World, provider: str) -> None:
    stage = {**enrich(provider=provider, api_key="{{secrets.gone}}"), "on_error": "skip"}
    with pytest.raises(SecretUnusableError) as missing:
        world.run(stage)
    assert (missing.value.code, missing.value.name) == ("secret_missing", "gone")
    elsewhere = ResolvedSecret("mine", VAULT[provider], ("api.example.com",))
    with pytest.raises(SecretUnusableError) as elsewhere_only:
        world.run(enrich(provider=provider, api_key="{{secrets.mine}}", on_error="skip"), secrets={"mine": elsewhere})
    assert elsewhere_only.value.code == "secret_host_mismatch"
    assert world.server.asked == []


def test_a_key_that_comes_back_reaches_no_later_stage(world: World) -> None:
    key = VAULT["openai"]
    world.server.default = lambda asked: Reply(f"You sent {asked.auth} and {asked.prompt}")
    turn = {"stage_id": "json_transform", "parameters": {"template": '{"turned": {{ DOC.summary|reverse|tojson }}}'}}
    result = world.run(
        limit_one(),
        enrich(api_key="{{secrets.mine}}"),
        enrich(prompt="{{ DOC.summary }}", output_field="again"),
        turn,
        secrets={"mine": key},
    )
    assert world.server.asked[1].auth == {"authorization": f"Bearer {PLATFORM['openai']}"}
    assert key not in world.server.asked[1].prompt
    [document] = result.documents
    assert "sent" in document["turned"][::-1]
    assert key not in document["turned"][::-1]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_platforms_key_that_comes_back_reaches_no_document_and_no_later_stage(world: World, provider: str) -> None:
    key = PLATFORM[provider]
    world.server.default = lambda asked: Reply(f"You sent {asked.auth} and {asked.prompt}")
    turn = {"stage_id": "json_transform", "parameters": {"template": '{"turned": {{ DOC.summary|reverse|tojson }}}'}}
    echoed, turned = (world.run(limit_one(), enrich(provider=provider), *more) for more in ((), (turn,)))
    assert key in str(world.server.asked[0].auth)
    assert "sent" in echoed.documents[0]["summary"]
    assert key not in str(echoed)
    assert "sent" in turned.documents[0]["turned"][::-1]
    assert key not in turned.documents[0]["turned"][::-1]


@pytest.mark.parametrize("key", [PLATFORM["openai"], VAULT["openai"]])
def test_no_error_that_leaves_the_chain_has_a_key(world: World, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    own: dict[str, Any] = {"secrets": {"mine": key}} if key == VAULT["openai"] else {}
    asking = enrich(**({"api_key": "{{secrets.mine}}"} if own else {}))

    def failing(kind: type[Exception]) -> Exception:
        def ask(*arguments: Any) -> Completion:
            assert key in arguments
            raise kind(f"cannot send {key}") from OSError(key)

        monkeypatch.setattr("pipelines.llm.access.ask", ask)
        with pytest.raises((StageError, RuntimeError)) as failed:
            world.run(limit_one(), asking, **own)
        return failed.value

    logger = CapturingLogger()
    monkeypatch.setattr("pipelines.chain.log", logger)
    refused, broken = failing(StageError), failing(ZeroDivisionError)
    assert isinstance(refused, StageError)
    assert refused.message == "cannot send [redacted]"
    assert str(broken) == "ZeroDivisionError: cannot send [redacted]"
    # as Ray sends it on and our logs show it
    for error in (refused, broken):
        assert key not in "".join(traceback.format_exception(error))
    (logged,) = logger.calls
    assert "in ask" in logged.kwargs["fault"]
    assert key not in str(logged)


def test_a_word_that_stands_for_no_key_is_left_in_innocent_text(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLATFORM, "openai", "none")
    world.server.default = lambda _: Reply("none of it")
    assert world.run(limit_one(), enrich()).documents[0]["summary"] == "none of it"


def test_without_any_key_the_stage_says_so(world: World) -> None:
    with pytest.raises(LlmError, match="no API key for openai"):
        world.run(enrich(), platform=False)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_busy_providers_are_asked_again_and_retry_after_is_honoured(world: World, provider: str) -> None:
    world.server.replies = [
        Reply(status=429, headers={"Retry-After": "0"}),
        Reply(status=500),
        Reply(truncated=True),
    ]
    result = world.run(limit_one(), enrich(provider=provider))
    assert result.documents[0]["summary"] == "an answer"
    assert len(world.server.asked) == 4


@pytest.mark.parametrize(("header", "seconds"), [("3600", 3600), ("Wed, 21 Oct 2099 07:28:00 GMT", 86_400)])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_that_asks_for_more_patience_than_there_is_is_not_waited_for(
    world: World, provider: str, header: str, seconds: int
) -> None:
    world.server.default = lambda _: Reply(status=429, headers={"Retry-After": header})
    with pytest.raises(LlmError) as limited:
        world.run(limit_one(), enrich(provider=provider))
    assert (limited.value.code, limited.value.retry_after) == ("llm_rate_limited", seconds)
    assert len(world.server.asked) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("reply", "code", "calls"),
    [
        (Reply(status=400), "llm_refused", 1),
        (Reply(status=401), "llm_unauthorized", 1),
        (Reply(status=403), "llm_unauthorized", 1),
        (Reply(status=404), "llm_refused", 1),
        (Reply(status=503), "llm_unavailable", 4),
        (Reply(raw=b"<html>not it"), "llm_unavailable", 4),
        (Reply(raw=b'{"unexpected": true}'), "llm_unavailable", 4),
        (Reply(withheld=True), "llm_refused", 1),
    ],
)
def test_failures_have_codes_and_never_repeat_what_the_provider_wrote(
    world: World, provider: str, reply: Reply, code: str, calls: int
) -> None:
    world.server.default = lambda _: reply
    with pytest.raises(LlmError) as failed:
        world.run(limit_one(), enrich(provider=provider, api_key="{{secrets.mine}}"), secrets={"mine": VAULT[provider]})
    assert failed.value.code == code
    assert len(world.server.asked) == calls
    assert VAULT[provider] not in failed.value.message + repr(failed.value) + str(failed.value.__cause__)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"1",
        b"null",
        b'[{"choices": []}]',
        b'{"choices": 1, "content": 1, "candidates": 1}',
        b'{"choices": null}',
        b'{"choices": {}, "content": 1.5, "candidates": {}}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_only_looks_like_the_protocol_is_none(world: World, provider: str, raw: bytes) -> None:
    world.server.default = lambda _: Reply(raw=raw)
    with pytest.raises(LlmError) as failed:
        world.pool.get(provider, world.server.base_url(provider)).complete(LlmRequest("m", "p", 10), VAULT[provider])
    assert failed.value.failure is LlmFailure.UNAVAILABLE


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_deadline_covers_a_provider_that_hangs(world: World, provider: str) -> None:
    over = threading.Event()

    def hang(_: Asked) -> Reply:
        over.wait(30)
        return Reply("too late")

    world.server.default = hang
    with pytest.raises(LlmError) as late:
        world.run(limit_one(), enrich(provider=provider), timeout=0.5)
    over.set()
    assert late.value.code == "llm_unavailable"
    assert len(world.server.asked) == 1


def test_what_a_provider_does_not_count_is_estimated_and_charged(world: World) -> None:
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": _CHOICES}
    world.server.default = lambda _: Reply(raw=json.dumps(answer).encode())
    result = world.run(limit_one(), enrich(prompt="{{ DOC.text }}"))
    # 26 bytes read and 2 written, 3 to a token
    assert result.stage_statistics["llm_enrich"]["tokens_used"] == 10
    assert result.llm_charge == llm_price(ModelClass.SMALL, 10)
