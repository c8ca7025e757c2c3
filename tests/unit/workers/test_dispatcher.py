"""What the dispatcher signs with: the secret of the delivery's own organization, and no other one."""

import base64
from dataclasses import asdict
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import Settings
from core.errors import IntegrityError
from core.storage.keyring import Keyring
from core.storage.scope import NamespaceScope
from core.vault.cipher import Cipher
from core.webhooks.delivery_queue import ClaimedDelivery
from core.webhooks.endpoint import secret_record
from workers.dispatcher import Dispatcher

KEY = SecretStr("k1:" + base64.urlsafe_b64encode(bytes(32)).decode())
CIPHER = Cipher(Keyring("KEYSTAGE_VAULT_KEYS", [KEY]))
NOBODY: Any = None


def claimed(sealed_for: str) -> ClaimedDelivery:
    secret = asdict(CIPHER.seal(secret_record(sealed_for, "wh_1"), "a secret of mine"))
    scope = NamespaceScope("int_1", "ns_1")
    return ClaimedDelivery(
        "dlv_1", scope, "wh_1", "evt_1", "resource.executed", 1, 1, 1, b"{}", {"secret": secret, "is_active": True}
    )


def test_a_secret_that_was_sealed_for_another_organization_signs_nothing() -> None:
    dispatcher = Dispatcher(Settings(_env_file=None), NOBODY, NOBODY, CIPHER)
    assert "webhook-signature" in dispatcher._signed(claimed("int_1"), b"{}")
    with pytest.raises(IntegrityError):
        dispatcher._signed(claimed("int_2"), b"{}")
