"""From settings to the key-encryption provider that they name. A library is imported only where it is used."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from config.refusals import UnusableSettingsError
from config.settings import KekProvider, Settings
from core.storage.keyring import Keyring
from core.vault.kek import KeyEncryption, MovingKeyEncryption
from core.vault.kek_environment import EnvironmentKeys
from core.vault.kek_file import FileKeys
from core.vault.kek_vault_transit import TransitKeys

Value = TypeVar("Value")


def choose_key_encryption(settings: Settings) -> KeyEncryption:
    """The provider in use, and the one before it while data keys move. Raises UnusableSettingsError."""
    current = _PROVIDERS[settings.kek_provider](settings)
    previous = settings.kek_previous_provider
    if previous is None or previous == settings.kek_provider:
        return current
    return MovingKeyEncryption(current, _PROVIDERS[previous](settings))


def _environment(settings: Settings) -> KeyEncryption:
    return EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", settings.vault_keys))


def _file(settings: Settings) -> KeyEncryption:
    return FileKeys(_needed(settings.kek_file, "KEYSTAGE_KEK_FILE"))


def _transit(settings: Settings) -> KeyEncryption:
    return TransitKeys(
        _needed(settings.kek_transit_url, "KEYSTAGE_KEK_TRANSIT_URL"),
        _needed(settings.kek_transit_token, "KEYSTAGE_KEK_TRANSIT_TOKEN"),
        settings.kek_transit_key,
        settings.kek_transit_mount,
    )


def _aws(settings: Settings) -> KeyEncryption:
    from core.vault.kek_aws import AwsKeys

    key = _needed(settings.kek_aws_key, "KEYSTAGE_KEK_AWS_KEY")
    return AwsKeys(key, settings.kek_aws_region, settings.kek_aws_endpoint_url)


def _google(settings: Settings) -> KeyEncryption:
    from core.vault.kek_google import GoogleKeys

    return GoogleKeys(_needed(settings.kek_google_key, "KEYSTAGE_KEK_GOOGLE_KEY"), settings.kek_google_endpoint)


def _needed(value: Value | None, variable: str) -> Value:
    if value is None:
        raise UnusableSettingsError(f"{variable} is not set, and the chosen provider of key-encryption keys needs it")
    return value


_PROVIDERS: Mapping[KekProvider, Callable[[Settings], KeyEncryption]] = {
    "environment": _environment,
    "file": _file,
    "transit": _transit,
    "aws": _aws,
    "google": _google,
}
