"""KEYSTAGE_MODELS: entries of language models from a variable or a file, checked when settings are read."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from config.settings import Settings

TOML = """
[models.gpt-4o]
successor = "gpt-6.1-terra"
from = 2026-12-15
"""
JSON = '{"gpt-4o": {"successor": "gpt-6.1-terra", "from": "2026-12-15"}}'


@pytest.mark.parametrize(
    ("name", "text"), [("m.toml", TOML), ("m.toml", TOML.replace("models.", "")), ("m.json", JSON)]
)
def test_entries_come_from_a_file(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_text(text)
    monkeypatch.setenv("KEYSTAGE_MODELS", str(tmp_path / name))
    read = Settings(_env_file=None).models
    assert read.keys() == {"gpt-4o"}
    assert {field: str(value) for field, value in read["gpt-4o"].items()} == {
        "successor": "gpt-6.1-terra",
        "from": "2026-12-15",
    }


def test_entries_come_from_the_variable_and_there_are_none_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MODELS", JSON)
    assert Settings(_env_file=None).models["gpt-4o"]["successor"] == "gpt-6.1-terra"
    for empty in ("", "{}"):
        monkeypatch.setenv("KEYSTAGE_MODELS", empty)
        assert Settings(_env_file=None).models == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "neither JSON nor a file"),
        ("/no/such/file.toml", "No such file"),
        ('{"gpt-4o": 5}', "gpt-4o: an entry is an object"),
        ('{"mine": {}}', "mine.provider: Field required"),
        ('{"mine": {"provider": "mistral"}}', "mine.provider: Input should be 'openai', 'anthropic' or 'google'"),
        ('{"gpt-4o": {"succesor": "x"}}', "gpt-4o.succesor: no such field: use provider, aliases"),
        ('{"gpt-4o": {"successor": "gpt-99"}}', "gpt-4o.successor: 'gpt-99' has no entry"),
        ('{"gpt-4o": {"successor": "claude-haiku-4-5"}}', "of another provider"),
        ('{"gpt-6-luna": {"successor": "gpt-4o"}}', "leads back to where it began"),
        ('{"gpt-6-luna": {"from": "2027-01-01"}}', "gpt-6-luna.from: a day needs a successor"),
        ('{"gpt-4o": {"from": "soon"}}', "gpt-4o.from"),
        ('{"gpt-6-luna": {"aliases": ["gpt-4o"]}}', "is a name of another entry too"),
        ('{"gpt-8*": {"default": true}}', "nobody's default"),
        ('{"gpt-4o": {"class": "cheap"}}', "gpt-4o.class"),
        ('{"gpt-6-luna": {"default": false}}', "no model of openai is the default"),
        (
            '{"a": {"provider": "openai", "default": true}, "b": {"provider": "openai", "default": true}}',
            "a, b: only one model of openai can be the default",
        ),
        ('{"gpt-4o": {"successor": null}, "GPT-4o": {}}', "two entries have the same name"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(given: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MODELS", given)
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None)
    assert said in str(refused.value)
