"""A signed statement of where a chain stood, which nobody without the signing key can make. Pure.

Only the sweeper holds the Ed25519 key; whoever has the public key can check a checkpoint.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import SecretStr

from core.audit.entry import Tip
from core.audit.seal import Purpose, encode
from core.storage.keyring import Keyring, RootKey

ARCHIVE = "audit/"
"""The folder of the object storage where checkpoints live a second time."""


@dataclass(frozen=True)
class Checkpoint:
    """Where an organization's chain stood at a moment. It names the organization by its public id."""

    organization_id: str
    number: int
    """1, 2, 3 … without a gap, for each organization"""
    seq: int
    mac: str
    at: str
    """RFC 3339, in UTC"""
    key_id: str
    signature: str = ""

    @property
    def tip(self) -> Tip:
        """The end of the chain that it vouches for."""
        return Tip(self.seq, self.mac)

    @property
    def moment(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.at)

    @property
    def blob_key(self) -> str:
        """Its place in the object storage."""
        return f"{archive_of(self.organization_id)}{self.seq}.json"

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over: the purpose, and every field but the signature."""
        fields = {name: value for name, value in asdict(self).items() if name != "signature"}
        return encode({"purpose": Purpose.CHECKPOINT.value, "checkpoint": fields})

    @staticmethod
    def read(fields: Mapping[str, Any]) -> "Checkpoint | None":
        """The checkpoint that these stored fields are, or None when there is one more, one less or one of another type.

        A `_id` and an `internal_id` beside them are the database's own.
        """
        own = {name: value for name, value in fields.items() if name not in {"_id", "internal_id"}}
        types = {name: int if name in {"number", "seq"} else str for name in Checkpoint.__dataclass_fields__}
        if own.keys() != types.keys() or not all(isinstance(own[name], kind) for name, kind in types.items()):
            return None
        if "_id" in fields and fields["_id"] != f"{own['organization_id']}/{own['number']}":
            return None
        return Checkpoint(**own)


def archive_of(organization_id: str) -> str:
    """Where an organization's checkpoints live in the object storage."""
    return f"{ARCHIVE}{organization_id}/"


class Signer:
    """Signs checkpoints. Lives in the sweeper only."""

    def __init__(self, signing_key: SecretStr) -> None:
        """Raises UnusableSettingsError when the key does not read `<id>:<32 bytes as urlsafe base64>`."""
        root = Keyring("KEYSTAGE_AUDIT_SIGNING_KEY", [signing_key]).newest
        self.key_id = root.key_id
        self._key = Ed25519PrivateKey.from_private_bytes(root.material)

    def sign(self, organization_id: str, number: int, tip: Tip, at: datetime) -> Checkpoint:
        """A checkpoint of this chain's end."""
        unsigned = Checkpoint(organization_id, number, tip.seq, tip.mac, at.isoformat(), self.key_id)
        signature = base64.urlsafe_b64encode(self._key.sign(unsigned.signed_bytes)).decode()
        return replace(unsigned, signature=signature)

    @property
    def public_key(self) -> str:
        """What KEYSTAGE_AUDIT_VERIFY_KEYS holds for this key."""
        return f"{self.key_id}:{base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).decode()}"


class Verifier:
    """Checks signatures with the public keys of the settings."""

    def __init__(self, public_keys: Sequence[str]) -> None:
        """Raises UnusableSettingsError when one does not read `<id>:<32 bytes as urlsafe base64>`."""
        self._keys = Keyring("KEYSTAGE_AUDIT_VERIFY_KEYS", [SecretStr(key) for key in public_keys])

    def is_signed(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint is, to the field, what the named key has signed."""
        key: RootKey | None = self._keys.get(checkpoint.key_id)
        if key is None:
            return False
        try:
            signature = base64.urlsafe_b64decode(checkpoint.signature)
            if base64.urlsafe_b64encode(signature).decode() != checkpoint.signature:
                return False
            Ed25519PublicKey.from_public_bytes(key.material).verify(signature, checkpoint.signed_bytes)
        except (ValueError, InvalidSignature):
            return False
        return True
