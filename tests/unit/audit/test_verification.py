"""What a walk along a chain says about it, edit by edit."""

from collections.abc import Sequence
from typing import Any

from core.audit.checkpoint import Checkpoint, Signer, Verifier
from core.audit.entry import NOTHING, Tip, next_entry
from core.audit.head import sealed_head
from core.audit.verification import ChainCheck, Finding, Witness, check_checkpoints, head_witness
from core.clock import now
from tests.audit_log import KEYRING, SIGNER, configured, record

AT = now()
VERIFIER = Verifier([SIGNER.public_key])


def chain(count: int, start: Tip = NOTHING, first: int = 1) -> list[dict[str, Any]]:
    """`count` sealed entries after `start`."""
    documents, tip = [], start
    for number in range(first, first + count):
        made = next_entry(record(number), KEYRING.newest, tip, audit_id=f"a{number}", internal_id="int_1", at=AT)
        documents.append(made.to_document())
        tip = made.tip
    return documents


def tip_of(document: dict[str, Any]) -> Tip:
    return Tip(document["seq"], document["mac"])


def problems(documents: Sequence[dict[str, Any]], *witnesses: Witness) -> list[str]:
    found = ChainCheck(KEYRING, "int_1", witnesses).walk(documents)
    return [f"{finding.seq}: {finding.problem}" for finding in found]


def test_a_genuine_chain_has_no_problem() -> None:
    documents = chain(5)
    assert problems(documents, Witness(tip_of(documents[-1]), "the head record")) == []
    assert problems([]) == []


def test_a_gap_is_one_finding() -> None:
    documents = chain(6)
    assert problems([documents[0], *documents[4:]]) == ["2: entries 2 to 4 are missing"]
    assert problems(documents[1:]) == ["1: entry 1 is missing"]


def test_a_true_entry_of_another_history_does_not_fit() -> None:
    documents = chain(4)
    other = chain(4, first=100)
    assert problems([*documents[:2], other[2], documents[3]]) == [
        "3: the entry does not follow the one before it",
        "4: the entry does not follow the one before it",
    ]
    mended = {**documents[3], "prev_mac": other[2]["mac"]}
    assert "4: the entry is not what was written" in problems([*documents[:2], other[2], mended])


def test_a_cut_tail_is_missed_by_the_head() -> None:
    documents = chain(5)
    head = Witness(tip_of(documents[-1]), "the head record")
    assert problems(documents[:3], head) == ["4: entries 4 to 5 are missing"]
    assert problems([], head) == ["1: entries 1 to 5 are missing"]


def test_entries_beyond_the_head_are_accepted() -> None:
    documents = chain(5)
    assert problems(documents, Witness(tip_of(documents[2]), "the head record")) == []


def test_an_entry_of_another_organization_is_not_ours() -> None:
    documents = chain(1)
    found = list(ChainCheck(KEYRING, "int_2", []).walk(documents))
    assert found == [Finding(1, "the entry is not what was written")]


def test_a_head_is_believed_only_under_its_seal() -> None:
    head = sealed_head(KEYRING.newest, "int_1", Tip(3, "aa"), AT)
    assert head_witness(KEYRING, head) == Witness(Tip(3, "aa"), "the head record")
    assert isinstance(head_witness(KEYRING, {**head, "seq": 2}), Finding)
    assert isinstance(head_witness(KEYRING, None), Finding)


def _stored(*checkpoints: Checkpoint) -> list[dict[str, Any]]:
    return [dict(vars(one)) for one in checkpoints]


def test_checkpoints_of_both_places_agree_and_are_counted() -> None:
    one, two, three = (SIGNER.sign("org_1", number, Tip(number * 10, "aa"), AT) for number in (1, 2, 3))

    def said(database: list[dict[str, Any]], archive: list[dict[str, Any]]) -> list[str]:
        return [finding.problem for finding in check_checkpoints(VERIFIER, "org_1", database, archive)[1]]

    assert said(_stored(one, two, three), _stored(one, two, three)) == []
    assert said(_stored(one, two), _stored(one, two, three)) == ["checkpoint 3 is missing in the database"]
    assert said(_stored(one, three), _stored(one, three)) == ["checkpoint 2 is missing in both places"]


def test_a_checkpoint_is_believed_only_as_it_was_signed() -> None:
    true = SIGNER.sign("org_1", 1, Tip(10, "aa"), AT)
    fields = dict(vars(true))
    stranger = Signer(configured("s1", 8)).sign("org_1", 1, Tip(10, "aa"), AT)
    foreign = SIGNER.sign("org_2", 1, Tip(10, "aa"), AT)
    for other in (
        {**fields, "seq": 11},
        {**fields, "at": "2020"},
        {**fields, "note": 1},
        vars(stranger),
        vars(foreign),
    ):
        witnesses, findings = check_checkpoints(VERIFIER, "org_1", [dict(other)], [dict(other)])
        assert witnesses == []
        assert len(findings) == 2
    assert check_checkpoints(Verifier([]), "org_1", [fields], [fields])[0] == []
