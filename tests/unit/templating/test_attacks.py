"""Templates that want out, or want everything: each is refused when it is read, or stopped by a budget."""

import time
from typing import Any

import jinja2
import pytest

from core.errors import StageError
from core.templating.budget import Limits, TemplateBudgetError
from core.templating.sandbox import TemplateRefusedError
from core.templating.template import Template

VALUES: dict[str, Any] = {
    "INPUT": {"q": "x", "evil": "{{ secrets.key }}", "n": 10**6},
    "DOC": {"text": "word " * 100, "tags": ["a", "b"], "list": list(range(100)), "html": "<b>"},
    "CONTEXT": {"namespace_id": "ns_1"},
    "STAGE": {"name": "s"},
}

CLASS_WALKING = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ DOC['__class__']['__init__'] }}",
    "{{ DOC|attr('__class__') }}",
    "{{ DOC|attr('items')|attr('__globals__') }}",
    "{{ (DOC.tags|map('attr', '__class__'))|list }}",
    "{{ DOC.tags|map(attribute='__class__')|first|upper|attr('mro') }}",
    "{{ DOC.tags|selectattr('__class__', 'callable')|list }}",
    "{{ DOC.items.__self__ }}",
    "{{ DOC.items.__func__.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ range(3).__class__ }}",
    "{{ loop.__init__ }}",
    "{% for x in DOC.tags %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% for x in DOC.tags %}{{ loop['__init__'] }}{% endfor %}",
    "{% for x in DOC.tags %}{{ loop|string }}{% endfor %}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ undefined_name.__class__ }}",
    "{{ (DOC.missing).__class__ }}",
    "{{ ''|string|attr('format') }}",
    "{{ config.items() }}",
    "{{ request.application }}",
    "{{ g.pop.__globals__ }}",
    "{{ context.__class__ }}",
    "{{ dict(a=1).__class__ }}",
    "{{ environment }}",
    "{{ __builtins__ }}",
    "{{ [].append(1) }}",
    "{{ DOC.tags.append('x') }}",
    "{{ DOC.update({'a': 1}) }}",
    "{{ DOC.clear() }}",
)
SECRETS = (
    "{{ secrets.openai_api_key }}",
    "{{ secrets['openai_api_key'] }}",
    "{{ SECRET.x }}",
    "{% set s = secrets %}{{ s }}",
    "{{ secret|default('none') }}",
    "{{ secrets is defined }}",
)
LOADING = (
    "{% include '/etc/passwd' %}",
    "{% include INPUT.q ignore missing %}",
    "{% import 'os' as os %}",
    "{% from 'a' import b %}",
    "{% extends 'base' %}",
    "{% block a %}{% endblock %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% call f() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% autoescape true %}{% endautoescape %}",
    "{% do DOC.clear() %}",
    "{% with %}{% endwith %}",
    "{% set a %}block{% endset %}",
    "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}",
    "{% debug %}",
    "{% set DOC = 1 %}",
    "{% set range = DOC %}",
    "{% for INPUT in DOC.tags %}{% endfor %}",
)
FORMATTING = (
    "{{ '%999999999d' % 1 }}",
    "{{ '%s' % DOC }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ '%s'|format(DOC) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'a'|center(10**9) }}",
    "{{ 'a'|indent(10**9) }}",
    "{{ 'a b'|wordwrap(1, true, 'x' * 10**8) }}",
    "{{ DOC|pprint }}",
    "{{ DOC|xmlattr }}",
    "{{ DOC.html|urlize }}",
    "{{ DOC.html|striptags }}",
    "{{ DOC.text|regex_replace('(a+)+$', 'b') }}",
    "{{ DOC.list|groupby('a') }}",
    "{{ DOC.list|batch(10**9, 'x')|list }}",
    "{{ DOC.list|slice(10**9)|list }}",
    "{{ DOC|tojson(indent=10**9) }}",
)
BOMBS = (
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [0] * 10**9 }}",
    "{{ ('a' * 1000000) * 1000000 }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ 2 ** 100000000 }}",
    "{{ (10**300) * (10**300) * (10**300) }}",
    "{{ 1.5 ** 99999999999 }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ " + "9" * 400 + " }}",
    "{{ range(10**9)|list }}",
    "{{ range(10**18)|length }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "".join(f"{{% for {name} in range(9999) %}}" for name in "abc") + "x" + "{% endfor %}" * 3,
    "{% for a in range(9999) %}{{ DOC|tojson }}{% endfor %}",
    "{% for a in range(9999) %}{{ 'x' * 10000 }}{% endfor %}",
    "{% for a in range(9999) %}{% if 'x' * 100000 == 'y' %}{% endif %}{% endfor %}",
    "{% for a in range(9999) %}" + "y" * 20000 + "{% endfor %}",
    "{% set x = 'a' * 1000 %}" + "{% set x = x ~ x %}" * 40 + "{{ x|length }}",
    "{% set x = 'a' * 1000 %}" + "{% set x = x + x %}" * 40 + "{{ x|length }}",
    "{% set x = 'a' * 1000 %}" + "{% set x = [x, x]|join('') %}" * 40 + "{{ x|length }}",
    "{% set x = 'a' * 1000 %}" + "{% set x = x|replace('a', 'aa') %}" * 40 + "{{ x|length }}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x|tojson }}",
    "{% set x = {'a': 1} %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ x|tojson }}",
    "{% set x = [1] %}{% set y = [1] %}" + "{% set x = [x, x] %}{% set y = [y, y] %}" * 40 + "{{ x == y }}",
    "{% set x = (1, 2) %}" + "{% set x = (x, x) %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = x + x %}" * 60 + "{{ x|length }}",
    "".join(f"{{% set v{n} = 'a' * 1000000 %}}" for n in range(900)),
    "{% set x = 'a' * 1000000 %}" + "".join(f"{{% set v{n} = x[{n}:] %}}" for n in range(100)),
    "{% for a in range(9999) %}{{ DOC.list[a % 2:]|length }}{% endfor %}",
    "{{ 1.0e999 }}",
    "{{ DOC.text|replace('o', 'x' * 1000000) }}",
    "{{ DOC.list|join('x' * 1000000) }}",
    "{% for a in DOC.text %}{% for b in DOC.text %}{% for c in DOC.text %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% set x = DOC.list|sort|reverse|unique %}{% endfor %}",
    "{% for a in DOC.tags recursive %}{{ loop(DOC.tags) }}{% endfor %}",
    "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
    "{{ " + "[" * 300 + "]" * 300 + " }}",
    "{{ " + "not " * 5000 + "1 }}",
    "{{ " + "-" * 5000 + "1 }}",
    "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "{% for i in DOC.tags %}" * 25 + "{% endfor %}" * 25,
    "{{ 1 " + "+ 1 " * 5000 + "}}",
    "{{ x" * 8000,
    "a" * 40_000,
    "{{ DOC." + "a." * 5000 + "b }}",
    "{{ range(*DOC.list) }}",
    "{{ range(9999)|join(range(9999)|join('x')) }}",
)
ATTACKS = CLASS_WALKING + SECRETS + LOADING + FORMATTING + BOMBS
HARMLESS_TO_TRY_OUTSIDE = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ DOC|attr('__class__') }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ '%s' % DOC }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ DOC|pprint }}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 12 + "{{ x|tojson }}",
    "{{ 'a' * 10**6 }}",
)


def attempt(text: str) -> str:
    """How the template was stopped; its text when it was not."""
    try:
        return f"RAN: {Template(text).render(VALUES)[:200]}"
    except TemplateRefusedError:
        return "refused"
    except TemplateBudgetError:
        return "budget"
    except StageError as error:
        return f"failed: {error.message[:60]}"


def test_every_attack_is_refused_or_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for text in ATTACKS:
        started = time.perf_counter()
        rows.append((attempt(text), (time.perf_counter() - started) * 1000, text))
    with capsys.disabled():
        print(f"\n{len(rows)} attacks; slowest {max(ms for _, ms, _ in rows):.1f} ms")
        for ended, ms, text in rows:
            print(f"  {ms:8.2f} ms  {ended[:24]:24}  {text[:80]!r}")
    assert len(rows) >= 40
    assert [row for row in rows if row[0].startswith("RAN")] == []


@pytest.mark.parametrize("text", HARMLESS_TO_TRY_OUTSIDE)
def test_the_attacks_have_teeth(text: str) -> None:
    # without the sandbox they do run, so the test above can fail
    assert jinja2.Environment(autoescape=True).from_string(text).render(VALUES)


def test_a_value_that_looks_like_a_template_stays_text() -> None:
    assert Template("{{ INPUT.evil }}").render(VALUES) == "{{ secrets.key }}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{% for a in range(1000) %}{% endfor %}", "steps"),
        ("{{ 'a' * 1001 }}", "characters of memory"),
        ("{{ DOC.text }}", "characters of output"),
    ],
)
def test_each_budget_stops_alone(text: str, what: str) -> None:
    with pytest.raises(TemplateBudgetError, match=what):
        Template(text).render(VALUES, Limits(steps=900, characters=1000, output=400))


def test_time_is_a_net_below_the_other_budgets() -> None:
    with pytest.raises(TemplateBudgetError, match="seconds"):
        Template("{% for a in range(100) %}{% endfor %}").render(VALUES, Limits(seconds=0))
