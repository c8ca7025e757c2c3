"""Nothing in our processes grows with the work: whoever keeps things by name says what bounds them.

A new dictionary, list or set in an object's life is a `Recent`, or an entry of BOUNDED with its bound.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from config.redaction import _remembered, redact
from core.unknown_keys import _nearest, nearest

_ROOT = Path(__file__).parents[2]
_ROOMS = ("api", "config", "core", "pipelines", "workers")
_GROWING = {"dict", "list", "set", "deque", "OrderedDict", "defaultdict", "Counter"}

BOUNDED = {
    "core/audit/checkpointer.py _moved": "the look at what moved waits while it is full",
    "core/audit/recorder.py _floods": "forgotten when their minute is over",
    "core/backends/absence_log.py _missed_by": "the backends, and the parts of a process that reach them",
    "core/backends/absence_log.py _since": "the backends",
    "core/backends/probes.py beats": "our living processes",
    "core/ids.py _counts": "one entry for each prefix; lives for one operation",
    "core/metrics.py _limited": "policies, a closed list",
    "core/metrics.py _requests": "routes and statuses, closed lists",
    "core/recent.py _entries": "its size",
    "core/storage/abilities/ability.py _left": "collections of one check",
    "core/storage/abilities/ability.py _made": "collections of one check",
    "core/storage/abilities/ability.py forms": "the forms of one statement",
    "core/storage/abilities/ability.py numbered": "the statements of one check",
    "core/storage/command_log.py _seen": "on in tests only; shapes of commands, which the code's own lines bound",
    "core/storage/handles.py _scope": "the one or two ids of a scope",
    "core/storage/mongo.py _answered": "the servers of one set",
    "core/storage/vectors/open_shards.py _places": "KEYSTAGE_OPEN_NAMESPACES, and those in use",
    "core/templating/sandbox.py globals": "what templates may call, a closed list",
    "core/tenancy/key_use.py _seen": "written every few seconds; no key is used while the database is away",
    "core/vault/data_keys.py _kept": "a number and an age",
    "core/vault/kek_patient.py _failed": "10,000 keys",
    "core/vault/use.py _seen": "written every few seconds; no secret is used while the database is away",
    "core/vault/kek_vault_transit.py _headers": "two",
    "core/webhooks/endpoint_lines.py _known": "the dispatcher reads no further while it is full",
    "core/webhooks/endpoint_lines.py _overfull": "endpoints among those that wait",
    "core/webhooks/endpoint_lines.py _turns": "endpoints among those that wait",
    "core/webhooks/endpoint_lines.py _under_way": "the dispatcher's slots",
    "core/webhooks/endpoint_lines.py _waiting": "the dispatcher reads no further while it is full",
    "pipelines/load.py _asked": "the stage actors",
    "pipelines/load.py _line": "the jobs under way",
    "pipelines/load.py _returning": "the stage actors",
    "pipelines/load.py _under_way": "calls that have not ended: the jobs under way, and the threads of the actors",
    "pipelines/llm/providers.py _made": "providers, at the addresses that the operator set",
    "workers/dispatcher.py _attempts": "results of attempts, a closed list",
    "workers/dispatcher.py _tasks": "the dispatcher's slots",
    "workers/drive_job.py ended": "states of a job",
    "workers/drive_job.py waited": "the backends",
    "workers/lane.py _line": "what it has no place for is forgotten",
    "workers/watch.py _by_id": "the jobs under way",
}

CACHED = {
    "api/routes/documentation.py _bundled": "the page's files, a closed list",
    "api/routes/documentation.py written": "one document",
    "config/language_models.py _published": "one file",
    "config/redaction.py _remembered": "4,096 names of 256 characters at most",
    "core/language_models/catalogue.py catalogue": "16 texts of an operator's",
    "core/retrievers/instants.py _read": "10,000 texts of 64 characters at most",
    "core/storage/command_log.py log_commands": "one directory",
    "core/storage/vectors/bm25.py _first_model": "one model",
    "core/storage/vectors/bm25.py _model": "one model",
    "core/templating/template.py _sandbox": "one sandbox",
    "core/templating/template.py template": "256 templates of 32 Ki characters at most",
    "core/unknown_keys.py _nearest": "4,096 names of 100 characters at most",
    "pipelines/tokens.py _tokenizer": "one tokenizer",
    "workers/endpoint_vault.py _redactor": "the headers of 128 endpoints, which are bounded",
}
"""Functions that remember: how many answers, and how large what they are asked with can be."""


def _remembering_functions() -> Iterator[str]:
    for path, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any("cache" in ast.unparse(d) for d in node.decorator_list):
                yield f"{path} {node.name}"
            if isinstance(node, ast.Assign) and "lru_cache" in ast.unparse(node.value):
                yield f"{path} {ast.unparse(node.targets[0])}"


def _kept_by_objects() -> Iterator[str]:
    for path, tree in _modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Attribute) and _is_self(target) and _is_empty_container(node.value):
                yield f"{path} {target.attr}"


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for room in _ROOMS:
        for path in sorted((_ROOT / room).rglob("*.py")):
            yield path.relative_to(_ROOT), ast.parse(path.read_text())


def _is_self(target: ast.Attribute) -> bool:
    return isinstance(target.value, ast.Name) and target.value.id == "self"


def _is_empty_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Dict | ast.List | ast.Set):
        return True
    if not isinstance(value, ast.Call):
        return False
    made = value.func.value if isinstance(value.func, ast.Subscript) else value.func
    return isinstance(made, ast.Name) and made.id in _GROWING


def test_what_an_object_keeps_by_name_has_a_bound_that_is_written_down() -> None:
    assert sorted(set(_kept_by_objects())) == sorted(BOUNDED)


def test_what_a_function_remembers_has_a_bound_that_is_written_down() -> None:
    assert sorted(set(_remembering_functions())) == sorted(CACHED)


def test_a_name_as_long_as_a_body_is_not_remembered() -> None:
    known = ("retriever_name", "stages")
    redact(None, "", {"facts": {"password": "hidden"}})
    before = _nearest.cache_info().currsize, _remembered.cache_info().currsize
    for number in range(3):
        name = f"{number}" + "x" * 100_000 + "_password"
        assert nearest(name, known) is None
        assert "hidden" not in str(redact(None, "", {"facts": {name: "hidden"}}))
    assert (_nearest.cache_info().currsize, _remembered.cache_info().currsize) == before
    assert nearest("retriever_nam", known) == "retriever_name"
