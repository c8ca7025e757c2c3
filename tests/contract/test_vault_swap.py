"""Every stored token, put into the place of every other record: none opens there. Prints how many were tried."""

import base64
from itertools import product

import pytest
from pydantic import SecretStr
from pymongo.database import Database

from core.errors import IntegrityError
from core.ids import Prefix, random_id, webhook_id
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document
from core.storage.redis import connect_redis
from core.storage.scope import OrganizationScope
from core.vault.cipher import Cipher, SealedValue, SecretRecord
from core.vault.data_keys import DataKeys
from core.vault.kek_environment import EnvironmentKeys
from core.vault.secret import SecretLimits
from core.vault.store import SecretStore
from core.webhooks.endpoint import EndpointSettings, secret_record
from core.webhooks.event import EventType
from core.webhooks.own_headers import SEALED, headers_record
from core.webhooks.store import WebhookStore

ORGANIZATIONS, NAMES, VERSIONS = 3, 4, 4


def test_a_token_opens_in_its_own_place_alone(
    database: Database[Document], handles: Handles, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = DataKeys(
        handles,
        EnvironmentKeys(Keyring("K", [SecretStr(f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}")])),
        kept_seconds=60,
    )
    cipher = Cipher(keys)
    fill(SecretStore(handles, keys, cipher), webhooks := connect_webhooks(handles, keys, cipher, redis_url))
    places = stored(database)
    opened, refused = [], 0
    for (record, _), (_, sealed) in product(places.items(), places.items()):
        try:
            cipher.open(record, sealed)
        except IntegrityError:
            refused += 1
        else:
            opened.append((record, sealed))
    with capsys.disabled():
        print(f"\ntokens: {len(places)}, moved: {len(places) ** 2 - len(places)}, refused: {refused}", end="")
        print(f", opened in their own place: {len(opened)}")
    assert len(places) == ORGANIZATIONS * (NAMES * VERSIONS + 2)
    assert refused == len(places) ** 2 - len(places)
    assert [sealed for _, sealed in opened] == [places[record] for record, _ in opened]
    webhooks.close()


class ClosingWebhooks(WebhookStore):
    """A webhook store with its Redis connection."""

    def close(self) -> None:
        self._redis.close()
        self._redis.connection_pool.disconnect()


def connect_webhooks(handles: Handles, keys: DataKeys, cipher: Cipher, redis_url: str) -> ClosingWebhooks:
    return ClosingWebhooks(handles, keys, cipher, connect_redis(redis_url))


def fill(secrets: SecretStore, webhooks: WebhookStore) -> None:
    """The same names, versions and values in several organizations."""
    endpoint = EndpointSettings(
        "hook", "https://example.com/hook", (EventType.RESOURCE_EXECUTED,), headers={"X-A": "b"}
    )
    for _ in range(ORGANIZATIONS):
        scope = OrganizationScope(random_id(Prefix.INTERNAL))
        webhooks.create(scope, webhook_id(), endpoint, "a signing secret of some length")
        for name in range(NAMES):
            secrets.create(scope, random_id(Prefix.SECRET), f"name_{name}", "the same value", SecretLimits())
            for _version in range(VERSIONS - 1):
                secrets.update(scope, f"name_{name}", "the same value")


def stored(database: Database[Document]) -> dict[SecretRecord, SealedValue]:
    """Every token by the record it stands in. A secret's newest version stands in two places, which are one record."""
    found = {
        SecretRecord(row["internal_id"], row["secret_id"], row["name"], row["version"]): SealedValue.of(row)
        for row in database["secret_versions"].find()
    }
    for row in database["secrets"].find():
        assert found[SecretRecord(row["internal_id"], row["_id"], row["name"], row["version"])] == SealedValue.of(row)
    rows = list(database["webhooks"].find())
    hooks = {secret_record(row["internal_id"], row["_id"]): row["secret"] for row in rows}
    hooks |= {headers_record(row["internal_id"], row["_id"]): row[SEALED] for row in rows}
    return found | {record: SealedValue.of(sealed) for record, sealed in hooks.items()}
