"""One suite for every provider of key-encryption keys.

Environment and file are the real thing. Transit and Google Cloud KMS are spoken to over HTTP, on local servers that
encrypt with associated data; Google by its own client library's REST transport. AWS is boto3 against moto's server.
"""

import base64
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from config.logging_setup import configure_logs
from core.backends.backend import Backend
from core.errors import BackendAwayError, IntegrityError
from core.storage.keyring import Keyring
from core.vault.kek import KeyEncryption, MovingKeyEncryption, Wrapped
from core.vault.kek_environment import EnvironmentKeys
from core.vault.kek_file import FileKeys
from core.vault.kek_remote import Calls
from core.vault.kek_vault_transit import TransitKeys
from tests.key_servers import GOOGLE_KEY, TOKEN, GoogleKmsServer, NonsenseServer, TransitServer, running
from tests.servers import free_port

KEY = bytes(range(32))
REMOTE = ["transit", "aws", "google"]
PROVIDERS = ["environment", "file", *REMOTE]


@dataclass
class Subject:
    """A provider, and what its operator does to rotate the key-encryption key."""

    keys: KeyEncryption
    rotated: Callable[[], KeyEncryption]


def line(name: str) -> str:
    return f"{name}:{base64.urlsafe_b64encode(os.urandom(32)).decode()}"


def environment() -> Iterator[Subject]:
    old, new = line("k1"), line("k2")

    def keys(*lines: str) -> KeyEncryption:
        return EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(each) for each in lines]))

    yield Subject(keys(old), lambda: keys(new, old))


def file(directory: Path) -> Iterator[Subject]:
    path, old = directory / "keys", line("k1")
    path.write_text(f"# key-encryption keys\n{old}\n")
    keys = FileKeys(path)

    def rotated() -> KeyEncryption:
        changed = directory / "changed"
        changed.write_text(f"{line('k2')}\n{old}\n")
        changed.replace(path)
        return keys

    yield Subject(keys, rotated)


def transit() -> Iterator[Subject]:
    with running(TransitServer()) as server:
        keys = TransitKeys(server.url, SecretStr(TOKEN), "keystage")

        def rotated() -> KeyEncryption:
            server.rotate()
            return keys

        yield Subject(keys, rotated)


def aws() -> Iterator[Subject]:
    import boto3
    from moto.server import ThreadedMotoServer

    from core.vault.kek_aws import AwsKeys

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        kms = boto3.client("kms", region_name="eu-central-1", endpoint_url=endpoint)
        # moto remembers across its servers
        alias = f"alias/keystage-{os.urandom(4).hex()}"
        kms.create_alias(AliasName=alias, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
        keys = AwsKeys(alias, "eu-central-1", endpoint)

        def rotated() -> KeyEncryption:
            kms.update_alias(AliasName=alias, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
            return keys

        yield Subject(keys, rotated)
        kms.close()
    server.stop()


def google() -> Iterator[Subject]:
    from google.auth.credentials import AnonymousCredentials

    from core.vault.kek_google import GoogleKeys

    with running(GoogleKmsServer()) as server:
        keys = GoogleKeys(GOOGLE_KEY, server.url, AnonymousCredentials())

        def rotated() -> KeyEncryption:
            server.rotate()
            return keys

        yield Subject(keys, rotated)


@pytest.fixture(params=PROVIDERS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    makers = {"environment": environment, "transit": transit, "aws": aws, "google": google}
    yield from file(tmp_path) if request.param == "file" else makers[request.param]()


def test_a_key_comes_back_for_its_organization_and_version(subject: Subject) -> None:
    wrapped = subject.keys.wrap(KEY, "int_a", 1)
    assert wrapped.kek_id == subject.keys.current_kek_id()
    assert wrapped.kek_id.startswith(f"{subject.keys.provider}:")
    assert KEY not in wrapped.blob
    assert subject.keys.unwrap(wrapped, "int_a", 1) == KEY


def test_a_key_that_is_moved_does_not_open(subject: Subject) -> None:
    wrapped = subject.keys.wrap(KEY, "int_a", 1)
    for internal_id, version in [("int_b", 1), ("int_a", 2), ("int_a1", 1), ("int_", 1)]:
        with pytest.raises(IntegrityError):
            subject.keys.unwrap(wrapped, internal_id, version)


def test_a_key_that_was_changed_does_not_open(subject: Subject) -> None:
    wrapped = subject.keys.wrap(KEY, "int_a", 1)
    middle = len(wrapped.blob) // 2
    swapped = b"A" if wrapped.blob[middle : middle + 1] != b"A" else b"B"
    changed = wrapped.blob[:middle] + swapped + wrapped.blob[middle + 1 :]
    with pytest.raises(IntegrityError):
        subject.keys.unwrap(replace(wrapped, blob=changed), "int_a", 1)


@pytest.mark.parametrize("left", [0, 5])
def test_a_key_that_was_cut_does_not_open(subject: Subject, left: int) -> None:
    wrapped = subject.keys.wrap(KEY, "int_a", 1)
    with pytest.raises(IntegrityError):
        subject.keys.unwrap(replace(wrapped, blob=wrapped.blob[:left]), "int_a", 1)


@pytest.mark.parametrize("subject", ["environment", "file", "aws"], indirect=True)
def test_a_key_whose_key_was_left_out_does_not_open(subject: Subject) -> None:
    wrapped = subject.keys.wrap(KEY, "int_a", 1)
    with pytest.raises(IntegrityError):
        subject.keys.unwrap(replace(wrapped, kek_id=f"{subject.keys.provider}:"), "int_a", 1)


def test_a_fault_of_ours_is_no_absence_and_repeats_no_key(subject: Subject) -> None:
    no_key: Any = [1234567]
    with pytest.raises((TypeError, ValueError)) as fault:
        subject.keys.wrap(no_key, "int_a", 1)
    assert "1234567" not in "".join(traceback.format_exception(fault.value))


def test_after_a_rotation_old_keys_open_and_new_ones_name_the_new_key(subject: Subject) -> None:
    old = subject.keys.wrap(KEY, "int_a", 1)
    keys = subject.rotated()
    assert keys.current_kek_id() != old.kek_id
    new = keys.wrap(KEY, "int_a", 1)
    assert new.kek_id == keys.current_kek_id()
    assert keys.unwrap(old, "int_a", 1) == keys.unwrap(new, "int_a", 1) == KEY


def test_a_provider_takes_over_from_another_one(subject: Subject) -> None:
    before = EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(line("old"))]))
    old = before.wrap(KEY, "int_a", 1)
    keys = MovingKeyEncryption(subject.keys, before) if subject.keys.provider != "environment" else before
    assert keys.unwrap(old, "int_a", 1) == KEY
    assert keys.wrap(KEY, "int_a", 1).kek_id.startswith(f"{subject.keys.provider}:")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that this process logs meanwhile, at the level that says most."""
    root, stream = logging.getLogger(), io.StringIO()
    before = (root.handlers, root.level, sys.excepthook, threading.excepthook)
    configure_logs("DEBUG", "json", "test", stream)
    yield stream
    root.handlers, root.level, sys.excepthook, threading.excepthook = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_no_log_line_has_the_key_at_any_level(log: io.StringIO, subject: Subject) -> None:
    key = os.urandom(32)
    subject.keys.current_kek_id()
    assert subject.keys.unwrap(subject.keys.wrap(key, "int_a", 1), "int_a", 1) == key
    logging.getLogger("ours").debug("logged at this level")
    assert "logged at this level" in log.getvalue()
    # the base64 of its first 30 bytes is the same whatever follows, and has no padding
    for form in (base64.b64encode(key[:30]), base64.urlsafe_b64encode(key[:30]), key[:30].hex().encode()):
        assert form.decode() not in log.getvalue()
    assert repr(key)[2:-1] not in log.getvalue().replace("\\\\", "\\")


def at(provider: str, url: str) -> KeyEncryption:
    if provider == "transit":
        return TransitKeys(url, SecretStr(TOKEN), "keystage")
    if provider == "aws":
        from core.vault.kek_aws import AwsKeys

        return AwsKeys("alias/keystage", "eu-central-1", url)
    from google.auth.credentials import AnonymousCredentials

    from core.vault.kek_google import GoogleKeys

    return GoogleKeys(GOOGLE_KEY, url, AnonymousCredentials())


def unavailable(keys: KeyEncryption) -> None:
    """Hold each of its calls against what callers rely on."""
    calls: list[Callable[[], object]] = [
        keys.current_kek_id,
        lambda: keys.wrap(KEY, "int_a", 1),
        lambda: keys.unwrap(Wrapped(f"{keys.provider}:x", b"vault:v1:AAAA"), "int_a", 1),
    ]
    for call in calls:
        with pytest.raises(BackendAwayError) as away:
            call()
        assert away.value.backend is Backend.KEY_SERVICE


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.mark.usefixtures("aws_credentials")
@pytest.mark.parametrize("provider", REMOTE)
def test_a_provider_that_does_not_answer_is_unavailable(provider: str) -> None:
    unavailable(at(provider, f"http://127.0.0.1:{free_port()}"))


@pytest.mark.usefixtures("aws_credentials")
@pytest.mark.parametrize("provider", REMOTE)
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"<html>Welcome</html>"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b'{"data": {"plaintext": "AAAA", "ciphertext": 1}, "plaintext": "AAAA", "Plaintext": "AAAA"}'),
        (200, b"\xff\xfe"),
        (404, b'"what?"'),
        (403, b"<html>Forbidden</html>"),
        (404, b"[1]"),
    ],
)
def test_a_provider_that_answers_nonsense_is_unavailable(provider: str, status: int, content: bytes) -> None:
    with running(NonsenseServer(status, content)) as server:
        unavailable(at(provider, server.url))


def test_a_disabled_key_of_google_is_unavailable_and_no_forgery() -> None:
    with running(GoogleKmsServer()) as server:
        keys = at("google", server.url)
        wrapped = keys.wrap(KEY, "int_a", 1)
        server.disabled = True
        with pytest.raises(BackendAwayError, match="FAILED_PRECONDITION"):
            keys.unwrap(wrapped, "int_a", 1)
        with pytest.raises(BackendAwayError, match="FAILED_PRECONDITION"):
            keys.wrap(KEY, "int_a", 1)
        server.disabled = False
        assert keys.unwrap(wrapped, "int_a", 1) == KEY


def test_an_absence_that_shows_at_once_is_looked_at_again() -> None:
    tries: list[float] = []

    def absent_once(seconds: float) -> str:
        tries.append(seconds)
        if len(tries) == 1:
            raise BackendAwayError(Backend.KEY_SERVICE)
        return "answered"

    assert Calls().make(absent_once) == "answered"
    first, second = tries
    # one bound holds over both
    assert second < first


def test_a_silence_is_not_waited_for_twice() -> None:
    tries: list[float] = []

    def silent(seconds: float) -> str:
        tries.append(seconds)
        raise BackendAwayError(Backend.KEY_SERVICE, silent=True)

    with pytest.raises(BackendAwayError):
        Calls().make(silent)
    assert len(tries) == 1


def test_a_probe_asks_once_in_a_while_and_again_after_an_absence() -> None:
    calls, asked = Calls(), []

    def wrap(key: bytes, internal_id: str, version: int) -> None:
        asked.append((len(key), internal_id, version))
        calls.make(lambda _: None)

    def silent(_: float) -> None:
        raise BackendAwayError(Backend.KEY_SERVICE, silent=True)

    for _ in range(3):
        calls.probe(wrap)
    assert asked == [(32, "keystage-probe", 0)]
    with pytest.raises(BackendAwayError):
        calls.make(silent)
    calls.probe(wrap)
    assert len(asked) == 2


def test_every_provider_that_works_can_be_probed(subject: Subject) -> None:
    subject.keys.probe()


def test_of_two_providers_the_new_one_alone_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    new, before = (EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(line(name))])) for name in ("k9", "k8"))

    def gone() -> None:
        raise BackendAwayError(Backend.KEY_SERVICE)

    monkeypatch.setattr(before, "probe", gone)
    MovingKeyEncryption(new, before).probe()
    with pytest.raises(BackendAwayError):
        MovingKeyEncryption(before, new).probe()


def test_a_token_that_transit_refuses_is_unavailable_and_not_repeated() -> None:
    with running(TransitServer()) as server:
        keys = TransitKeys(server.url, SecretStr("another-token"), "keystage")
        with pytest.raises(BackendAwayError) as refused:
            keys.wrap(KEY, "int_a", 1)
    assert "403" in refused.value.message
    assert "another-token" not in refused.value.message


def test_a_key_file_that_cannot_be_read_any_more_leaves_the_keys_of_before(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(line("k1"))
    keys = FileKeys(path)
    wrapped = keys.wrap(KEY, "int_a", 1)
    path.write_text("k2:not a key at all\n")
    assert keys.unwrap(wrapped, "int_a", 1) == KEY
    path.unlink()
    assert keys.current_kek_id() == "file:k1"
    with pytest.raises(BackendAwayError):
        FileKeys(path).current_kek_id()
    with pytest.raises(BackendAwayError):
        FileKeys(path).probe()


def test_what_is_wrong_with_a_key_file_is_said_once_and_again_when_it_changes(tmp_path: Path, log: io.StringIO) -> None:
    path = tmp_path / "keys"
    path.write_text(line("k1"))
    keys = FileKeys(path)
    keys.probe()
    path.write_text("k2:not a key at all\n")
    for _ in range(3):
        keys.probe()
    path.unlink()
    for _ in range(3):
        keys.probe()
    assert log.getvalue().count("vault.key_file_unusable") == 2
