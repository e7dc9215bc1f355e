"""What people really send: each case in `cases/` has the right result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.field.comparing import differences
from tests.field.reading import read_case
from tests.field.replaying import replay

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))

STILL_WRONG: set[str] = {
    "101-plain-text-as-a-signing-secret",
    "102-stray-entries-in-a-signature-list",
    "103-signing-secret-with-byte-order-mark",
    "105-segment-name-over-the-key-size",
    "11-another-ecid-joins-then-exit",
    "12-px-another-ecid-joins-then-exit",
    "13-oldest-ecid-goes-then-exit",
    "14-one-request-last-value-loses",
    "15-one-request-address-corrected",
    "16-one-request-cleared-then-set",
    "17-clock-ahead-old-join-told-again",
    "18-clock-ahead-old-attributes-told-again",
    "19-attributes-beside-a-segment-nobody-exports",
    "20-address-first-beside-another-segment",
    "21-adobe-attributes-beside-a-segment-nobody-exports",
    "22-exit-lost-by-half-an-emoji",
    "23-exit-lost-by-an-empty-second-identity",
    "24-exit-lost-by-a-null-second-identity",
    "25-adobe-exit-lost-by-a-null-phone",
    "26-adobe-exit-lost-by-another-segment",
    "33-signing-secret-with-v1-prefix",
    "35-exit-lost-when-the-profile-is-full",
    "36-size-limit-counts-escapes",
    "37-schedule-without-input",
    "38-disabled-schedule-counts-as-own",
    "39-source-secret-with-byte-order-mark",
    "40-same-webhook-id-again-after-a-newer-change",
    "42-profile-key-address-in-two-spellings",
    "56-another-ecid-becomes-primary-then-exit",
    "57-ids-replaced-one-by-one-then-exit",
    "58-two-profiles-turn-out-to-be-one-then-exit",
    "60-px-two-profiles-turn-out-to-be-one",
    "61-key-with-blanks-around-it",
    "63-ids-of-one-profile-in-another-order",
    "64-one-request-nine-then-ten",
    "66-one-request-identities-corrected",
    "67-clock-ahead-times-as-told",
    "70-same-idempotency-key-after-a-newer-change",
    "71-same-webhook-id-after-the-value-was-cleared",
    "72-membership-kept-before-an-export-names-it",
    "73-address-before-the-exported-segment-in-a-run",
    "74-exit-beside-attributes-that-are-null",
    "75-exit-beside-a-membership-without-a-time",
    "76-exit-beside-an-identity-that-is-a-number",
    "77-exit-beside-half-an-emoji-in-an-identity",
    "78-exit-beside-an-unknown-key",
    "79-exit-beside-a-time-that-cannot-be-read",
    "81-adobe-body-in-which-nothing-can-be-read",
}
"""Names of cases whose result is still wrong; a case that has become right fails until its name is taken out."""


def _parameters() -> list[object]:
    wrong = pytest.mark.xfail(strict=True, raises=AssertionError, reason="still wrong")
    return [pytest.param(case, id=case.stem, marks=[wrong] if case.stem in STILL_WRONG else []) for case in CASES]


@pytest.mark.parametrize("file", _parameters())
def test_a_case_has_the_right_result(file: Path) -> None:
    case = read_case(file)
    assert case.expect
    found = differences(case.expect, replay(case))
    assert not found, "\n".join(found)


def test_every_case_that_is_still_wrong_is_there() -> None:
    assert {case.stem for case in CASES} >= STILL_WRONG
