"""What becomes of each of the forty secrets: which stages use it, and how that must end. Data, and no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COUNT = 40
PROVIDERS = ("openai", "anthropic", "google")
_SEARCH = {
    "searches": [{"feature_uri": "mixpeek://text_extractor@v1/text_embedding", "query": "EXPLAINED {{INPUT.q}}"}]
}
_SCORE = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


@dataclass(frozen=True)
class Outcome:
    """How an execution ends."""

    status: str
    code: str | None
    masked: bool
    """whether something was masked in its result"""


@dataclass(frozen=True)
class Case:
    """One secret's part in the run."""

    stages: tuple[Mapping[str, Any], ...] = ()
    """with @NAME where the secret is named and @SERVICE for the address of the service; none: it is never used"""
    ends: str = "COMPLETED"
    """the task's last status"""
    code: str | None = None
    """of its error"""
    masked: bool = False
    """whether the result has the value in it until it is masked"""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """of the secret"""
    ending: str = ""
    """of the secret's value"""
    after_deletion: bool = False
    """whether the secret is gone by then"""
    rotated: bool = False
    """whether it gets a second value and is used again with it"""

    @property
    def outcome(self) -> Outcome:
        """How each of its executions must end."""
        return Outcome(self.ends, self.code, self.masked)


def _asking(provider: str, prompt: str, **more: Any) -> Mapping[str, Any]:
    parameters = {"provider": provider, "prompt": prompt, "api_key": "{{secrets.@NAME}}", **more}
    return {"stage_id": "llm_enrich", "parameters": parameters}


def _calling(path: str = "echo", on_error: str = "raise", **more: Any) -> Mapping[str, Any]:
    parameters = {"url": f"@SERVICE/{path}", "allowed_domains": ["127.0.0.1"], "on_error": on_error, **more}
    return {"stage_id": "api_call", "parameters": parameters}


def _auth(kind: str, **more: Any) -> Mapping[str, Any]:
    return {"auth": {"type": kind, "secret_ref": "@NAME", **more}}


_BEARER = _auth("bearer")


def _of_models() -> list[Case]:
    failing = [Case((_asking(provider, "BODY400"),), "FAILED", "llm_refused") for provider in PROVIDERS] + [
        Case((_asking(provider, "HEADERS401"),), "FAILED", "llm_unauthorized") for provider in PROVIDERS
    ]
    unreadable = [Case((_asking(provider, "GARBAGE200"),), "FAILED", "llm_unavailable") for provider in PROVIDERS]
    unsendable = [
        Case((_asking(provider, "FINE"),), "FAILED", "llm_unauthorized", ending="\r\nX-Injected: 1")
        for provider in PROVIDERS
    ]
    return [
        *(Case((_asking(provider, "ECHO"),), masked=True, rotated=True) for provider in PROVIDERS),
        *failing,
        *unreadable,
        *unsendable,
        Case((_asking("openai", "CUTOFF"),), "FAILED", "llm_unavailable"),
        Case((_asking("anthropic", "WRONGTYPE", schema=_SCORE),), "FAILED", "llm_invalid_output"),
        Case(({**_asking("google", "CUTOFF"), "on_error": "skip"},)),
        Case(
            (
                {
                    "stage_id": "llm_filter",
                    "parameters": {
                        "criteria": "EXPLAINED",
                        "include_reasoning": True,
                        "api_key": "${{ secrets.@NAME }}",
                    },
                },
            ),
            masked=True,
        ),
        Case(({"stage_id": "summarize", "parameters": {"prompt": "ECHO", "api_key": "${vault:@NAME}"}},), masked=True),
        Case(
            (
                {
                    "stage_id": "query_expand",
                    "parameters": {"feature_search_config": _SEARCH, "api_key": "{{SECRET.@NAME}}"},
                },
            )
        ),
    ]


def _of_calls() -> list[Case]:
    # what a later stage says of a document that has the value in it
    telling = {"stage_id": "json_transform", "on_error": "skip"}
    template = "{{ DOC.nothing[DOC.api_response.path] | upper | int + DOC.api_response }}"
    return [
        Case((_calling(**_BEARER),), masked=True, rotated=True),
        Case((_calling(**_auth("basic", username="user")),), masked=True, rotated=True),
        Case((_calling(**_auth("basic")),), masked=True),
        Case((_calling(**_auth("api_key", key="X-Key")),), masked=True, rotated=True),
        Case((_calling(**_auth("api_key", key="q", location="query")),), masked=True),
        Case((_calling(**_auth("custom_header", key="X-Custom")),), masked=True),
        Case((_calling(headers={"X-Mine": "{{secrets.@NAME}}"}),), masked=True),
        Case((_calling("refused", **_BEARER),), "FAILED", "api_call_failed"),
        Case((_calling("refused", on_error="skip", **_auth("api_key", key="q", location="query")),)),
        Case((_calling("garbage", **_BEARER),), "FAILED", "api_call_failed"),
        Case((_calling(response_path="no.such.thing", **_BEARER),), "FAILED", "api_call_failed"),
        Case((_calling(**_BEARER),), "FAILED", "api_call_failed", ending="\nX-Injected: 1"),
        Case(
            (
                _calling(**_auth("api_key", key="q", location="query")),
                {**telling, "parameters": {"template": template, "fail_on_error": True}},
            ),
            masked=True,
        ),
    ]


def _of_refusals() -> list[Case]:
    elsewhere = {"allowed_hosts": ["api.example.com"]}
    return [
        Case((_asking("openai", "FINE"),), "FAILED", "secret_host_mismatch", limits=elsewhere),
        Case((_calling(**_BEARER),), "FAILED", "secret_host_mismatch", limits=elsewhere),
        Case((_asking("google", "FINE"),), "FAILED", "secret_disabled", limits={"disabled": True}),
        Case((_asking("openai", "FINE"),), "FAILED", "secret_expired", limits={"expires_at": "2020-01-01T00:00:00Z"}),
        Case((_asking("anthropic", "FINE"),), "FAILED", "secret_missing", after_deletion=True),
        Case(),
    ]


def forty_cases() -> list[Case]:
    """All of them, in the order of their secrets' numbers."""
    return [*_of_models(), *_of_calls(), *_of_refusals()]
