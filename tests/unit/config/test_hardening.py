"""docs/hardening.md answers every line of the security page with settings, tests and checks that exist."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.operators.doctor.command import CHECKS
from config.secret_managers import ManagerSettings
from config.settings import Settings
from tests.security_page import LINES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "hardening.md").read_text()


@dataclass(frozen=True)
class Row:
    """How the page answers one line."""

    here: str
    setting: str
    proof: str


def _rows() -> dict[tuple[str, str], Row]:
    """Each answered line, under its heading."""
    rows: dict[tuple[str, str], Row] = {}
    for section in PAGE.partition("## Where settings come from")[0].split("\n### ")[1:]:
        heading, *lines = section.splitlines()
        for line in lines:
            if line.startswith("| ") and not line.startswith("| line "):
                said, here, setting, proof = (cell.strip() for cell in line.strip("|").split(" | "))
                rows[heading, said.strip("`")] = Row(here, setting, proof)
    return rows


ROWS = _rows()


def test_every_line_of_the_page_is_answered_and_no_other() -> None:
    assert list(ROWS) == [(heading, line) for heading, lines in LINES.items() for line in lines]


def test_every_answer_says_what_is_done_and_what_proves_it() -> None:
    for line, row in ROWS.items():
        assert len(row.here) > 10, line
        assert re.search(r"`tests/[a-z_0-9/]+\.py`", row.proof), line


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))))
def test_a_named_test_exists_and_tests(path: str) -> None:
    assert "def test_" in (ROOT / path).read_text()


def test_every_named_setting_exists() -> None:
    managed = {str(field.validation_alias or f"KEYSTAGE_SECRETS_{name.upper()}") for name, field in
               ManagerSettings.model_fields.items()}  # fmt: skip
    known = {f"KEYSTAGE_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"KEYSTAGE_[A-Z_]+[A-Z]", PAGE))
    assert named - known - managed - {"KEYSTAGE_SECRETS_DIR"} == set()
    # a setting of TLS or of a secret manager that the page does not name would be found by nobody
    assert {name for name in known if "_TLS_" in name} | managed <= named


def test_the_doctors_checks_and_the_page_name_one_another() -> None:
    page = {line for lines in LINES.values() for line in lines}
    assert {check.line for check in CHECKS} <= page
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert set(re.findall(r"`doctor: ([a-z_.]+)`", PAGE)) == {check.id for check in CHECKS}


def test_no_setting_takes_a_long_lived_key_of_an_object_storage() -> None:
    # a key-encryption key is named by its id in the cloud; what may use it comes from the machine's role
    storage = [name for name in Settings.model_fields if not name.startswith("kek_")]
    assert not [name for name in storage if re.search(r"access_key|aws|s3|gcs|service_account", name)]


@pytest.mark.parametrize(
    "command",
    [
        "mongodump",
        "mongorestore",
        "/snapshots",
        "put-bucket-versioning",
        "NoncurrentVersionExpiration",
        "NetworkPolicy",
    ],
)
def test_backups_and_network_policies_are_commands_to_copy(command: str) -> None:
    blocks = "".join(PAGE.split("```")[1::2])
    assert command in blocks
