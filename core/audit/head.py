"""The sealed note of where an organization's chain ends, which makes a cut tail visible. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.audit.entry import Tip
from core.audit.seal import Purpose, is_sealed, seal
from core.storage.keyring import Keyring, RootKey


def sealed_head(key: RootKey, internal_id: str, tip: Tip, at: datetime) -> dict[str, Any]:
    """The head record of a chain that ends at `tip`."""
    head = {
        "_id": internal_id,
        "internal_id": internal_id,
        "seq": tip.seq,
        "mac": tip.mac,
        "key_id": key.key_id,
        "at": at,
    }
    return {**head, "head_mac": seal(key, Purpose.HEAD, head)}


def genuine_tip(keyring: Keyring, head: Mapping[str, Any]) -> Tip | None:
    """Where the chain ends, or None when this head is not, to the field, what was sealed."""
    key = keyring.get(str(head.get("key_id")))
    unsealed = {name: value for name, value in head.items() if name != "head_mac"}
    if key is None or not is_sealed(key, Purpose.HEAD, unsealed, head.get("head_mac")):
        return None
    return Tip(head["seq"], head["mac"])
