"""A reference is a whole value in a closed list of places; whatever else looks like one is found."""

from typing import Any

import pytest

from core.vault.references import misplaced_references, reference_of, references_anywhere, references_in

SPELLINGS = [
    "{{secrets.openai_api_key}}",
    "{{ secrets.openai_api_key }}",
    "${{ secrets.openai_api_key }}",
    "{{SECRET.openai_api_key}}",
    "{{secret.openai_api_key}}",
    "{{Secrets.openai_api_key}}",
    "{{ SECRETS.openai_api_key }}",
    "${vault:openai_api_key}",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_the_published_spellings_are_references(text: str) -> None:
    assert reference_of(text) == "openai_api_key"
    assert [found.name for found in references_in({"api_key": text})] == ["openai_api_key"]
    assert misplaced_references({"api_key": text}) == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"api_key": "Bearer {{secrets.k}}"},
        {"api_key": "{{secrets.k}}{{secrets.j}}"},
        {"api_key": "{{secrets.Nope}}"},
        {"api_key": "{{ secrets['k'] }}"},
        {"api_key": "{{secrets|list}}"},
        {"api_key": "{{-secrets.k}}"},
        {"prompt": "{{secrets.k}}"},
        {"prompt": "{{ secrets }}"},
        {"prompt": "{{ DOC.text ~ secrets.k }}"},
        {"prompt": "{% for x in secrets.values() %}"},
        {"prompt": "{{ dict(secrets) }}"},
        {"prompt": "say {{ secrets.k }} aloud"},
        {"nested": {"api_key": "{{secrets.k}}"}},
        {"headers": {"A": {"B": "{{secrets.k}}"}}},
        {"headers": ["{{secrets.k}}"]},
        {"body": ["${vault:k}"]},
        {"a": {"{{secrets.k}}": 1}},
    ],
)
def test_whatever_else_looks_like_a_reference_is_misplaced(parameters: dict[str, Any]) -> None:
    assert len(misplaced_references(parameters)) == 1
    assert references_in(parameters) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"api_key": "{{secrets.OPENAI_API_KEY}}"}, "the name a lower-case letter"),
        ({"api_key": "{{secrets.openai-key}}"}, "the name a lower-case letter"),
        ({"api_key": "{{ secrets['k'] }}"}, "write {{secrets.name}}"),
        ({"api_key": " ${{ secrets.STRIPE_KEY }} "}, "the name a lower-case letter"),
        ({"auth": {"value": "${vault:Key}"}}, "the name a lower-case letter"),
        ({"headers": {"X-A": "{{secrets.1}}"}}, "the name a lower-case letter"),
        ({"headers": {"Authorization": "Bearer {{secrets.k}}"}}, '{"type": "bearer", "secret_ref": "name"}'),
        ({"api_key": "Bearer {{secrets.k}}"}, "only as the whole value of"),
        ({"prompt": "{{secrets.K}}"}, "only as the whole value of"),
        ({"prompt": "{{Secrets.k}}"}, "only as the whole value of"),
    ],
)
def test_the_message_says_whether_the_place_or_the_name_is_wrong(parameters: dict[str, Any], message: str) -> None:
    [problem] = misplaced_references(parameters)
    assert message in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "{{INPUT.secrets}}",
        "{% if DOC.kind == 'secret' %}",
        "keep {{it}} secret.",
        "{{DOC.secret_santa}}",
        "{{" * 50_000,
    ],
)
def test_other_words_are_no_references(text: str) -> None:
    assert misplaced_references({"prompt": text}) == []


def test_the_closed_list() -> None:
    parameters = {
        "api_key": "{{secrets.a}}",
        "auth": {"secret_ref": "b", "value": "{{secrets.c}}", "other": "d"},
        "headers": {"Authorization": "{{secrets.e}}", "X-Plain": "f"},
    }
    assert sorted(found.name for found in references_in(parameters)) == ["a", "b", "c", "e"]
    assert misplaced_references(parameters) == []


def test_where_nothing_may_stand_every_reference_is_found_with_its_path() -> None:
    body = {"api_key": "{{secrets.a}}", "x": [{"y": "see ${vault:b}"}], "z": "{{INPUT.secrets}}"}
    assert [problem.location for problem in references_anywhere(body, ("body",))] == [
        ("body", "api_key"),
        ("body", "x", 0, "y"),
    ]
