"""`api_call` against real local services, and the stages that reshape documents: no Ray, no models."""

import base64
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from core.egress.policy import EgressPolicy
from core.errors import SecretUnusableError, StageError
from core.retrievers.parameters import STAGE_PARAMETERS
from core.vault.resolved import ResolvedSecret, ResolvedSecrets
from pipelines.registry import STAGES
from pipelines.stage import Document, StageContext, StageInput, StageOutput
from pipelines.tokens import count_tokens
from tests.receiver import Answer, TestReceiver, plain, receiver, silent

LOOPBACK = EgressPolicy.allowing(["127.0.0.0/8"])
DOCUMENTS: list[Document] = [
    {
        "document_id": f"doc_{number}",
        "collection_id": "col_1",
        "score": 1.0,
        "text": f"Text {number}. " * 20,
        "n": number,
    }
    for number in range(3)
]


def run(
    stage_id: str,
    parameters: Mapping[str, Any],
    documents: list[Document] | None = None,
    secrets: ResolvedSecrets | None = None,
    policy: EgressPolicy = LOOPBACK,
    **inputs: Any,
) -> StageOutput:
    """One stage over documents."""
    unused = cast(Any, None)
    context = StageContext("ns_1", ("col_1",), unused, unused, secrets=secrets or ResolvedSecrets(), egress=policy)
    read = STAGE_PARAMETERS[stage_id].model_validate(parameters)
    return STAGES[stage_id](StageInput(read, DOCUMENTS if documents is None else documents, inputs, "s"), context)


def as_json(value: Any, status: int = 200) -> Answer:
    """A service that answers with JSON."""
    return plain(status, "Content-Type: application/json\r\n", json.dumps(value).encode())


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    return [nested(levels - 1)] if levels else 1


def call(endpoint: TestReceiver, **more: Any) -> dict[str, Any]:
    """An `api_call` of this service that fails loudly."""
    return {"url": endpoint.url, "allowed_domains": ["127.0.0.1"], "on_error": "raise", **more}


def secret(*hosts: str) -> ResolvedSecrets:
    """A secret called `token`."""
    return ResolvedSecrets({"token": ResolvedSecret("token", "s3cret-value", hosts)})


def test_api_call_sends_what_its_templates_say_and_keeps_what_stands_at_the_path() -> None:
    with receiver(as_json({"data": {"items": [{"name": "x"}]}})) as endpoint:
        output = run(
            "api_call",
            call(
                endpoint,
                url=endpoint.url + "?id={{ DOC.document_id|urlencode }}&q={{ INPUT.q|urlencode }}",
                method="post",
                headers={"X-Doc": "{{ DOC.document_id }}"},
                body={"text": "{{ DOC.text[:6] }}", "n": [1, "{{ DOC.n }}"]},
                response_path="data.items.0.name",
                output_field="found.name",
                when={"field": "n", "operator": "eq", "value": 1},
            ),
            q="a b&c",
        )
    assert [document.get("found") for document in output.documents] == [None, {"name": "x"}, None]
    [sent] = endpoint.requests
    assert json.loads(sent.body) == {"text": "Text 1", "n": [1, "1"]}
    assert (sent.headers["x-doc"], sent.headers["content-type"]) == ("doc_1", "application/json")


@pytest.mark.parametrize(
    ("auth", "header", "expected"),
    [
        ({"type": "bearer", "secret_ref": "token"}, "authorization", "Bearer s3cret-value"),
        ({"type": "api_key", "secret_ref": "{{secrets.token}}"}, "x-api-key", "s3cret-value"),
        ({"type": "custom_header", "secret_ref": "token", "key": "X-Mine"}, "x-mine", "s3cret-value"),
        (
            {"type": "basic", "secret_ref": "token", "username": "ada"},
            "authorization",
            "Basic " + base64.b64encode(b"ada:s3cret-value").decode(),
        ),
        (
            {"type": "basic", "value": "{{secrets.token}}"},
            "authorization",
            "Basic " + base64.b64encode(b"s3cret-value").decode(),
        ),
    ],
)
def test_each_kind_of_auth_sends_the_secret_where_it_belongs(auth: Any, header: str, expected: str) -> None:
    with receiver(as_json(1)) as endpoint:
        run("api_call", call(endpoint, auth=auth), DOCUMENTS[:1], secret())
    assert endpoint.requests[0].headers[header] == expected


def test_a_header_may_be_a_secret_and_none_is_sent_to_another_host() -> None:
    parameters = {"headers": {"X-Token": "{{secrets.token}}"}}
    with receiver(as_json(1)) as endpoint:
        run("api_call", call(endpoint, **parameters), DOCUMENTS[:1], secret("127.0.0.1"))
        assert endpoint.requests[0].headers["x-token"] == "s3cret-value"
        with pytest.raises(SecretUnusableError) as refused:
            run("api_call", call(endpoint, **parameters, on_error="skip"), DOCUMENTS[:1], secret("api.example.com"))
        assert refused.value.code == "secret_host_mismatch"
        with pytest.raises(SecretUnusableError):
            run("api_call", call(endpoint, **parameters), DOCUMENTS[:1])
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/?{port}",
        "http://127.0.0.1.evil.example:{port}/",
        "http://127.0.0.1@evil.example:{port}/",
        "http://user:pw@127.0.0.1:{port}/",
        "http://evil.example#@127.0.0.1:{port}/",
        "file:///etc/passwd?{port}",
        "http://2130706433:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "//127.0.0.1:{port}/",
    ],
)
def test_a_host_that_a_document_brings_is_not_called(url: str) -> None:
    with receiver(as_json(1)) as endpoint:
        port = endpoint.url.rpartition(":")[2].partition("/")[0]
        document = {**DOCUMENTS[0], "url": url.format(port=port)}
        with pytest.raises(StageError):
            run("api_call", call(endpoint, url="{{ DOC.url }}"), [document], secret())
        assert endpoint.requests == []


def test_an_allowed_domain_at_an_inner_address_is_not_called() -> None:
    with receiver(as_json(1)) as endpoint, pytest.raises(StageError) as denied:
        run("api_call", call(endpoint), DOCUMENTS[:1], policy=EgressPolicy())
    assert denied.value.code == "egress_denied"
    assert endpoint.requests == []


def test_a_redirect_to_an_inner_address_is_an_error() -> None:
    with receiver(plain(302, "Location: http://169.254.169.254/latest\r\n")) as endpoint:
        with pytest.raises(StageError, match="Redirects are not followed"):
            run("api_call", call(endpoint), DOCUMENTS[:1])
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("answer", "more", "message"),
    [
        (as_json({"error": "s3cret-value"}, 500), {}, "HTTP 500"),
        (as_json({"a": 1}), {"response_path": "b"}, "nothing at response_path"),
        (as_json({"0": 1}), {"response_path": "$[0]"}, "nothing at response_path"),
        (as_json([1, 2, 3]), {"response_path": "²"}, "nothing at response_path"),
        (as_json({"a": 10**30}), {}, "cannot be kept: a number has more than 64 bits"),
        (as_json({"a\0b": 1}), {}, "cannot be kept: a field's name has the character"),
        (as_json([{"$ref": "a", "$id": 1}]), {}, "an object has .ref and .id"),
        (as_json(nested(70)), {}, "cannot be kept: it is nested deeper"),
        (as_json(float("nan")), {}, "did not answer with JSON"),
        (plain(200, "Content-Type: application/json\r\n", b"{not"), {}, "did not answer with JSON"),
        (plain(200, body=b"x" * 100), {"max_response_size": 10}, "more than 10 bytes"),
        (silent, {"timeout": 0.3}, "within 0.3 seconds"),
    ],
)
def test_what_goes_wrong_is_told_without_the_answer(answer: Answer, more: dict[str, Any], message: str) -> None:
    with receiver(answer) as endpoint:
        with pytest.raises(StageError, match=message) as failed:
            run("api_call", call(endpoint, **more, headers={"X-Token": "{{secrets.token}}"}), DOCUMENTS[:1], secret())
        assert "s3cret-value" not in failed.value.message
        kept = run("api_call", call(endpoint, **more) | {"on_error": "skip"}, DOCUMENTS[:1])
        assert (kept.documents, kept.facts["failed_documents"]) == (DOCUMENTS[:1], 1)
        assert [failure["document_id"] for failure in kept.facts["failures"]] == ["doc_0"]
        assert run("api_call", call(endpoint, **more) | {"on_error": "remove"}, DOCUMENTS[:1]).documents == []


@pytest.mark.parametrize("number", ["1e400", "-1e999", "1" * 400 + ".0"])
@pytest.mark.parametrize("path", [None, "a", "a[1].b"])
def test_a_number_that_no_double_holds_fails_its_document_with_the_reason(number: str, path: str | None) -> None:
    reason = "a number is larger than a double holds"
    body = f'{{"a": [1, {{"b": {number}}}], "c": 2}}'
    with receiver(plain(200, "Content-Type: application/json\r\n", body.encode())) as endpoint:
        skipped = run("api_call", call(endpoint, response_path=path, on_error="skip"), DOCUMENTS[:1])
        beside = run("api_call", call(endpoint, response_path="c"), DOCUMENTS[:1])
    assert skipped.documents == DOCUMENTS[:1]
    assert reason in skipped.facts["failures"][0]["error"]
    assert beside.documents[0]["api_response"] == 2
    output = run("json_transform", {"template": body}, DOCUMENTS[:2])
    assert output.documents == []
    assert [reason in failure["error"] for failure in output.facts["failures"]] == [True, True]
    with pytest.raises(StageError, match=reason):
        run("json_transform", {"template": body, "fail_on_error": True})


def test_the_reasons_of_the_first_five_documents_are_said() -> None:
    documents = [{"document_id": f"doc_{number}"} for number in range(9)]
    facts = run("json_transform", {"template": "{{ DOC.missing }}"}, documents).facts
    assert (facts["failed_documents"], len(facts["failures"])) == (9, 5)


@pytest.mark.parametrize("name", ["../admin", "..", "a/../../b", "%2e%2e/admin", ".", "..\\admin"])
def test_a_value_of_a_document_chooses_no_other_path(name: str) -> None:
    with receiver(as_json(1)) as endpoint:
        base = endpoint.url.rstrip("/") + "/items/"
        with pytest.raises(StageError, match="part of its path"):
            run("api_call", call(endpoint, url=base + "{{ DOC.name }}"), [{"name": name}])
        assert endpoint.requests == []
        run("api_call", call(endpoint, url=base + "{{ DOC.name|urlencode }}?q=/../"), [{"name": "a/b..c"}])
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize("path", ["$.current.t[1]", "$['current'][\"t\"][1]", "current.t.1", "current.t[1]"])
def test_a_published_path_finds_its_value(path: str) -> None:
    with receiver(as_json({"current": {"t": [3, 4]}})) as endpoint:
        [document] = run("api_call", call(endpoint, response_path=path), DOCUMENTS[:1]).documents
        assert document["api_response"] == 4
        [document] = run("api_call", call(endpoint, response_path="$"), DOCUMENTS[:1]).documents
        assert document["api_response"] == {"current": {"t": [3, 4]}}


def test_a_text_answer_stays_text_and_a_rate_limit_sends_all() -> None:
    with receiver(plain(200, "Content-Type: text/plain\r\n", b"hello")) as endpoint:
        output = run("api_call", call(endpoint, rate_limit={"requests_per_second": 200}))
    assert [document["api_response"] for document in output.documents] == ["hello"] * 3


def test_a_secret_that_cannot_stand_in_a_header_is_not_shown() -> None:
    broken = ResolvedSecrets({"token": ResolvedSecret("token", "line\nbreak-ü")})
    with receiver(as_json(1)) as endpoint, pytest.raises(StageError, match="cannot be sent") as refused:
        run("api_call", call(endpoint, auth={"type": "bearer", "secret_ref": "token"}), DOCUMENTS[:1], broken)
    assert "break" not in refused.value.message


def test_a_secret_that_makes_a_url_too_long_is_not_shown() -> None:
    long = ResolvedSecrets({"token": ResolvedSecret("token", "s3cret-value/" * 5000)})
    auth = {"type": "api_key", "secret_ref": "token", "location": "query"}
    with receiver(as_json(1)) as endpoint, pytest.raises(StageError, match="cannot be sent") as refused:
        run("api_call", call(endpoint, auth=auth), DOCUMENTS[:1], long)
    assert "s3cret" not in refused.value.message
    assert endpoint.requests == []


def test_json_transform_replaces_documents_and_keeps_their_ids() -> None:
    template = '{"title": {{ DOC.text[:6]|tojson }}, "big": {{ DOC.n > 1 }}}'
    output = run("json_transform", {"template": template})
    assert output.documents[2] == {"document_id": "doc_2", "collection_id": "col_1", "title": "Text 2", "big": True}


def test_a_template_is_told_its_own_namespace() -> None:
    [made] = run("json_transform", {"template": '{"n": "{{ CONTEXT.namespace_id }}"}'}, DOCUMENTS[:1]).documents
    assert made["n"] == "ns_1"


def test_all_documents_together_have_a_limit_too() -> None:
    documents = [{"document_id": f"doc_{number}", "text": ""} for number in range(70)]
    output = run("json_transform", {"template": '{"a": "{{ \'x\' * 1000000 }}"}'}, documents)
    # 64 MiB are 67 texts of this length
    assert output.facts["failed_documents"] == 3
    with pytest.raises(StageError, match="more than there is room") as exhausted:
        run("rag_prepare", {"document_template": "{{ 'x' * 1000000 }}"}, documents)
    assert exhausted.value.code == "too_much_data"


def test_an_answer_and_a_body_of_many_small_parts_are_refused() -> None:
    many = b"[" + b"1," * 1_000_001 + b"1]"
    with receiver(plain(200, "Content-Type: application/json\r\n", many)) as endpoint:
        with pytest.raises(StageError, match="more than 1000000 values"):
            run("api_call", call(endpoint), DOCUMENTS[:1])
        asked = len(endpoint.requests)
        with pytest.raises(StageError, match="more than there is room"):
            run("api_call", call(endpoint, method="POST", body=["{{ 'x' * 600000 }}"] * 2), DOCUMENTS[:1])
        assert len(endpoint.requests) == asked == 1
    with receiver(as_json({"items": ["x" * 1_000_000], "name": "kept"})) as endpoint:
        found = run("api_call", call(endpoint, response_path="name"), DOCUMENTS[:1] * 70)
    assert {document["api_response"] for document in found.documents} == {"kept"}


def test_halves_of_characters_are_mended_wherever_they_come_from() -> None:
    text = r"{{ '\ud83d\ude00' }} \ud83d\ude00 \ud800."
    [made] = run("json_transform", {"template": f'{{"a": "{text}"}}'}, DOCUMENTS[:1]).documents
    assert made["a"] == "\U0001f600 \U0001f600 \ufffd."
    with receiver(
        plain(200, "Content-Type: application/json\r\n", rb'{"\ud800a": ["\ud83d\ude00\udc00"]}')
    ) as endpoint:
        [called] = run("api_call", call(endpoint, method="POST", body=text), DOCUMENTS[:1]).documents
    assert called["api_response"] == {"\ufffda": ["\U0001f600\ufffd"]}
    assert endpoint.requests[0].body.startswith("\U0001f600".encode())


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain; charset=iso-8859-1", "Grüße".encode("latin-1"), "Grüße"),
        ("text/plain; charset=utf-8", "Grüße".encode("cp1252"), "Grüße"),
        ("text/plain", "Grüße".encode("utf-16"), "Grüße"),
        ("text/plain", b"\xed\xa0\xbd\xed\xb8\x80 \xed\xa0\xbd", "\U0001f600 \ufffd"),
        ("application/json; charset=iso-8859-1", '{"a": "Grüße"}'.encode("latin-1"), {"a": "Grüße"}),
        ("application/json", '{"a": "Grüße"}'.encode("utf-8-sig"), {"a": "Grüße"}),
        ("application/json", b'{"a": "\xed\xa0\xbd\xed\xb8\x80"}', {"a": "\U0001f600"}),
    ],
)
def test_a_services_answer_is_read_in_its_encoding(content_type: str, body: bytes, expected: Any) -> None:
    with receiver(plain(200, f"Content-Type: {content_type}\r\n", body)) as endpoint:
        [called] = run("api_call", call(endpoint), DOCUMENTS[:1]).documents
    assert called["api_response"] == expected


@pytest.mark.parametrize(
    "template",
    ["not json", "[1]", '{"a": 99999999999999999999}', '{"a": NaN}', "{{ DOC.missing }}", "{{ 'x' * 10**9 }}"],
)
def test_a_document_that_cannot_be_transformed_is_left_out_or_fails_the_stage(template: str) -> None:
    output = run("json_transform", {"template": template})
    assert (output.documents, output.facts["failed_documents"]) == ([], 3)
    assert [failure["document_id"] for failure in output.facts["failures"]] == ["doc_0", "doc_1", "doc_2"]
    with pytest.raises(StageError):
        run("json_transform", {"template": template, "fail_on_error": True})


@pytest.mark.parametrize("strategy", ["priority_truncate", "proportional", "drop_last"])
@pytest.mark.parametrize("style", ["numbered", "bracketed", "inline", "footnote", "none"])
def test_rag_prepare_packs_a_context_that_fits(strategy: str, style: str) -> None:
    [packed] = run(
        "rag_prepare", {"max_tokens": 110, "truncation_strategy": strategy, "citation": {"style": style}}
    ).documents
    assert 0 < packed["token_count"] == count_tokens(packed["rag_context"]) <= 110
    used = {"priority_truncate": 2, "proportional": 3, "drop_last": 1}[strategy]
    assert packed["documents_used"] == len(packed["citations"]) == used
    assert packed["rag_context"].startswith("[1]") is (style == "numbered")
    assert packed["tokenizer"].startswith("wordpiece")


def test_rag_prepare_lists_pieces_and_uses_a_template() -> None:
    output = run(
        "rag_prepare", {"output_mode": "formatted_list", "document_template": "{{ DOC.n }}!", "context_field": "piece"}
    )
    assert [document["piece"] for document in output.documents] == ["[1] 0!", "[2] 1!", "[3] 2!"]
    assert run("rag_prepare", {}, []).documents == []


@pytest.mark.parametrize(
    ("style", "mark"),
    [("numbered", "[3]"), ("bracketed", "[doc_2]"), ("inline", "[doc_2]"), ("footnote", "³"), ("none", "")],
)
def test_rag_prepare_cites_in_each_style_where_the_template_says_so(style: str, mark: str) -> None:
    def pieces(template: str) -> list[str]:
        parameters = {"output_mode": "formatted_list", "document_template": template, "citation": {"style": style}}
        return [document["rag_context"] for document in run("rag_prepare", parameters).documents]

    assert pieces("{{ DOC.n }}")[2] == f"{mark} 2".strip()
    # the published default: the template brings the number, and it is not put there twice
    assert pieces("[{{CONTEXT.INDEX}}] {{DOC.content}}")[2].startswith("[3] Text 2.")
    assert pieces("{{ DOC.n }} ({{ context.CITATION }})")[2] == f"2 ({mark})"


def test_content_is_another_name_of_the_text_that_shows_nowhere_else() -> None:
    def made(template: str, **document: Any) -> Any:
        parameters = {"template": template, "fail_on_error": True}
        return run("json_transform", parameters, [{"document_id": "doc_1", **document}]).documents[0]

    by_each_way = '{"a": "{{ DOC.content }}", "b": "{{ doc[\'content\'] }}", "c": "{{ DOC.get(\'content\') }}"}'
    assert made(by_each_way, text="T") == {"document_id": "doc_1", "a": "T", "b": "T", "c": "T"}
    assert made('{"a": "{{ DOC.content }}"}', text="T", content="C")["a"] == "C"
    assert made("{{ DOC|tojson }}", text="T") == {"document_id": "doc_1", "text": "T"}
    assert made('{"a": {{ DOC.keys()|length }}}', text="T")["a"] == 2
    with pytest.raises(StageError, match="'content' is not defined"):
        made('{"a": "{{ DOC.content }}"}', title="T")
