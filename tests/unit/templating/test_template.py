"""What templates can do: the published names, plain values, and errors that name what is missing."""

from typing import Any

import pytest

from core.errors import StageError
from core.templating.sandbox import TemplateRefusedError
from core.templating.template import Template

VALUES: dict[str, Any] = {
    "INPUT": {"q": "keys", "n": 3},
    "DOC": {"title": "Vaults", "tags": ["a", "b"], "none": None, "a": {"b": 1.5}, "text": "abcdef"},
    "CONTEXT": {"namespace_id": "ns_1"},
    "STAGE": {"name": "first"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Summarize this document.", "Summarize this document."),
        ("{{ INPUT.q }} {{ inputs.q }} {{ input.q }}", "keys keys keys"),
        ("{{ DOC.title }} {{ doc['title'] }}", "Vaults Vaults"),
        ("{{ CONTEXT.namespace_id }} {{ context.namespace_id }}", "ns_1 ns_1"),
        ("{{ STAGE.name }} {{ stage.name }}", "first first"),
        ("{{ DOC.tags }} {{ DOC.none }} {{ DOC.a }} {{ true }}", '["a", "b"] null {"b": 1.5} true'),
        ("{% for k, v in DOC.a.items() %}{{ loop.index }}:{{ k }}={{ v }}{% endfor %}", "1:b=1.5"),
        ("{% for t in DOC.tags %}{{ t }}{% if not loop.last %}, {% endif %}{% endfor %}", "a, b"),
        ("{% for t in DOC.tags if t == 'b' %}{{ t }}{% else %}none{% endfor %}", "b"),
        ("{{ DOC.missing|default('-') }} {{ DOC.get('x', 7) }}", "- 7"),
        ("{{ 'yes' if INPUT.n > 2 and DOC.missing is not defined else 'no' }}", "yes"),
        (
            "{{ DOC.text[1:-1:2] }} {{ DOC.text[::-1] }} {{ DOC.tags[1:] }} {{ range(9)[2:4]|list }}",
            'bd fedcba ["b"] [2, 3]',
        ),
        ("{{ DOC.text[:3]|upper ~ '!' }} {{ DOC.text|truncate(2) }}", "ABC! ab…"),
        ("{{ DOC.tags|join(' + ') }} {{ DOC.tags|length }} {{ DOC.tags|first }}", "a + b 2 a"),
        ("{% set x = INPUT.n * 2 + 1 %}{{ x }} {{ x // 2 }} {{ 7 % 4 }} {{ 2 ** 10 }}", "7 3 3 1024"),
        ("{{ range(3)|join }}", "012"),
        ("{% for a in range(2) %}{% for b in range(2) %}{{ a }}{{ b }} {% endfor %}{% endfor %}", "00 01 10 11 "),
        ("{{ [3, 1, 2]|sort|tojson }} {{ [1, 2]|sum }} {{ 1.256|round(2) }}", "[1, 2, 3] 3 1.26"),
    ],
)
def test_a_template_renders_plain_values(text: str, expected: str) -> None:
    assert Template(text).render(VALUES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ DOC.title", "cannot be read"),
        ("{% if %}", "cannot be read"),
        ("{{ secrets.x }}", "'secrets' does not exist"),
        ("{{ DOC.title|shout }}", "no such filter: shout"),
        ("{{ DOC.title is sunny }}", "no such test: sunny"),
        ("{{ DOC.title.upper() }}", "nothing can be called"),
        ("{{ a > b ? c : d }}", "cannot be read"),
    ],
)
def test_what_cannot_run_is_refused_when_it_is_read(text: str, message: str) -> None:
    with pytest.raises(TemplateRefusedError, match=message):
        Template(text)


@pytest.mark.parametrize(
    "text", ["{{ DOC.missing }}", "{{ DOC.missing.deeper }}", "{{ DOC.title + 1 }}", "{{ 1 / 0 }}"]
)
def test_what_fails_is_a_stage_error(text: str) -> None:
    with pytest.raises(StageError, match="A template failed"):
        Template(text).render(VALUES)


@pytest.mark.parametrize(
    ("text", "held"), [("{{ INPUT.n > 2 }}", True), ("{{ INPUT.n > 9 }}", False), ("{{ DOC.none }}", False)]
)
def test_a_condition_holds_unless_it_says_no(text: str, held: bool) -> None:
    assert Template(text).holds(VALUES) is held


def test_it_says_whether_it_uses_the_document() -> None:
    assert Template("{{ doc.title }}").uses_document
    assert not Template("Summarize.").uses_document
