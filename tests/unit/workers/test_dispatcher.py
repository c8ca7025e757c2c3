"""What the dispatcher signs with: the secret of the delivery's own organization, and no other one."""

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from config.settings import Settings
from core.errors import IntegrityError
from core.storage.scope import NamespaceScope
from core.vault.cipher import Cipher, DataKey
from core.webhooks.delivery_queue import ClaimedDelivery
from core.webhooks.endpoint import secret_record
from workers.dispatcher import Dispatcher

NOBODY: Any = None


class OneKeyForAll:
    """Every organization's data key, which is the same here: only the record tells them apart."""

    def find(self, internal_id: str, version: int) -> DataKey:
        """The key."""
        return DataKey(internal_id, version, bytes(32))


CIPHER = Cipher(OneKeyForAll())


def claimed(sealed_for: str) -> ClaimedDelivery:
    key = OneKeyForAll().find(sealed_for, 1)
    secret = asdict(CIPHER.seal(key, secret_record(sealed_for, "wh_1"), "a secret of mine"))
    scope = NamespaceScope("int_1", "ns_1")
    return ClaimedDelivery(
        "dlv_1", scope, "wh_1", "evt_1", "resource.executed", 1, 1, 1, b"{}", {"secret": secret, "is_active": True}
    )


def test_a_secret_that_was_sealed_for_another_organization_signs_nothing() -> None:
    dispatcher = Dispatcher(Settings(_env_file=None), NOBODY, NOBODY, CIPHER, NOBODY)
    assert "webhook-signature" in asyncio.run(dispatcher._signed(claimed("int_1"), b"{}"))
    with pytest.raises(IntegrityError):
        asyncio.run(dispatcher._signed(claimed("int_2"), b"{}"))
