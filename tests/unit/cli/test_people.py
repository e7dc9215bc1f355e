"""`relay explain`, `rejected`, `test`, `trace`, `forget`, `segments` and `send`."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from relay.sources.authentication import MODES, authentic
from relay_cli.commands.sending import proof, signing_key
from relay_cli.door import Posted
from tests.unit.cli.people_answers import (
    ATTEMPTS,
    EXPLAINED,
    SEGMENTS,
    at_one,
    change,
    counting,
    following,
    nobody,
    traced,
)
from tests.unit.cli.stack_fake import NOW, FakeDoor, Terminal, run, text_of

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_whom_an_import_changed_last_is_not_said_to_have_come_by_a_request(relay: Terminal, door: FakeDoor) -> None:
    profile = {**EXPLAINED["profile"], "request": "20261127T095951-59a505f937"}
    door.answers["explain"] = {**EXPLAINED, "profile": profile}
    assert "changed last by\timport 20261127T095951-59a505f937" in relay("explain", "crm:c-1001").out


def test_explain_says_one_sentence_first_then_the_facts(relay: Terminal, door: FakeDoor) -> None:
    door.answers["explain"] = EXPLAINED

    ended = relay("explain", "crm:c-1001", "newsletter/vip")

    assert door.asked == [
        ("view", {"ask": "explain", "version": 1, "profile": "crm:c-1001", "export": "newsletter/vip"})
    ]
    assert ended.lines[0] == EXPLAINED["sentence"]
    assert ended.lines[1] == "It may also mean: p-5."
    for text in (
        "crm/vip\trealized\t2026-11-24 12:00 UTC\t3 d ago",
        "changed last by\trequest r-1",
        "segments\tcrm/vip, crm/gold",
        "list 7\tin\tas desired\t3 d ago\tdelivered\tlast call (c-0)",
        "a call is open (c-1), at the latest until 2026-11-27 13:00 UTC",
        "set aside\ta defect of ours: KeyError",
        "notes\tresync requested, unfit_expression",
        "refused by the destination: bounced: 2026-11-27 12:00 UTC",
        "a duplicate of p-7",
        "waits until 2026-11-27 14:00 UTC",
        "rejected\tno_identity: map IDENTIFY_ID",
        "stopped\tunpaid: the account is unpaid",
        "last run\t01RUN2, finished",
        "in the log\tfilter @message like /t-1|t-2/ | sort @timestamp",
    ):
        assert text in ended.out


def test_values_are_asked_of_the_function_that_may_show_them(relay: Terminal, door: FakeDoor) -> None:
    profile = {**EXPLAINED["profile"], "identities": {"email": "kim@example.com"}, "attributes": {"tags": ["a", "b"]}}
    door.answers["explain"] = {**EXPLAINED, "profile": profile}

    ended = relay("explain", "p-1", "--show-values")

    assert door.asked[0] == ("admin", {"ask": "explain", "version": 1, "profile": "p-1", "show_values": True})
    assert "identities.email\tkim@example.com" in ended.lines
    assert 'attributes.tags\t["a", "b"]' in ended.lines


def test_who_is_meant_can_come_from_standard_input(relay: Terminal, door: FakeDoor) -> None:
    door.answers["explain"] = nobody("Nobody is stored under this.")

    ended = relay("explain", "-", stdin="email:kim@example.com\n")

    assert door.asked[0][1]["profile"] == "email:kim@example.com"
    assert ended.lines == ["Nobody is stored under this."]


def rejecting(pages: int, of: int) -> Any:
    def answer(question: Mapping[str, Any]) -> dict[str, Any]:
        page = int(question.get("after") or "0", 16)
        found = [
            {
                "profile": f"p-{page * of + n}",
                "code": question.get("code") or "bounced",
                "kind": "destination",
                "leaving": False,
                "since": text_of(NOW),
                "means": 'mail "bounces"',
                "then": "tried again, daily",
            }
            for n in range(min(of, question["limit"]))
        ]
        return {"rejected": found, "next": f"{page + 1:032x}" if page + 1 < pages else None}

    return answer


def test_all_who_were_rejected_are_listed_page_by_page(relay: Terminal, door: FakeDoor) -> None:
    door.answers["rejected"] = rejecting(3, 500)

    ended = relay("rejected", "newsletter/vip")

    assert ended.lines[0] == "profile\tcode\tkind\tsince\tmeans\tthen\tleaving"
    assert len(ended.lines) == 1 + 1500
    assert ended.lines[-1].startswith("p-1499\tbounced\tdestination\t2026-11-27 12:00 UTC\t")
    assert ended.err == "1,500 profiles\n"


def test_those_rejected_as_csv_and_as_json(relay: Terminal, door: FakeDoor) -> None:
    door.answers["rejected"] = rejecting(2, 2)

    rows = list(csv.DictReader(io.StringIO(relay("rejected", "newsletter/vip", "--csv").out)))
    assert [row["profile"] for row in rows] == ["p-0", "p-1", "p-2", "p-3"]
    assert rows[0]["means"] == 'mail "bounces"'
    lines = relay("rejected", "newsletter/vip", "--code", "no_email", "--json").json_lines
    assert {one["code"] for one in lines} == {"no_email"}


def test_a_limit_asks_for_no_more(relay: Terminal, door: FakeDoor) -> None:
    door.answers["rejected"] = rejecting(100, 3)

    assert len(relay("rejected", "newsletter/vip", "--limit", "5").lines) == 1 + 5
    assert len(door.asked) == 2


def test_nobody_is_rejected(relay: Terminal, door: FakeDoor) -> None:
    door.answers["rejected"] = {"rejected": [], "next": None}

    assert "Nobody is rejected by newsletter/vip." in relay("rejected", "newsletter/vip", terminal=True).out
    assert relay("rejected", "newsletter/vip", "--csv").lines == ["profile,code,kind,since,means,then,leaving"]


@pytest.mark.parametrize(("line", "code"), [([], "all"), (["--code", "bounced"], "bounced")])
def test_those_rejected_are_tried_again(relay: Terminal, door: FakeDoor, line: list[str], code: str) -> None:
    door.answers["run"] = run(state="running", retry=code)

    ended = relay("rejected", "newsletter/vip", "--retry", *line)

    assert door.asked == [("admin", {"ask": "run", "version": 1, "export": "newsletter/vip", "retry": code})]
    assert (ended.code, f"tries again\t{code}" in ended.lines) == (0, True)
    assert relay("rejected", "newsletter/vip", "--retry", "--csv").code == 2


def test_a_look_is_waited_for_and_shown(relay: Terminal, door: FakeDoor) -> None:
    looks = iter([[], [], ATTEMPTS])
    door.answers |= {"test": {"trace": "t-9", "profile": "p-1"}, "trace": lambda _: traced(next(looks))}

    ended = relay("test", "newsletter/vip", "crm:c-1001")

    assert ended.code == 0
    assert 'request\t{"email": "***"}' in ended.lines
    assert 'call\tPOST /api/3/contact/sync?{"limit": "1"}' in ended.lines
    assert "status\tno answer (timeout)" in ended.lines
    assert ended.lines[-1] == "2 more calls were made than are kept."
    assert [(function, question["ask"]) for function, question in door.asked] == [
        ("admin", "test"), ("view", "trace"), ("view", "trace"), ("view", "trace")
    ]  # fmt: skip
    assert door.asked[0][1] == {"ask": "test", "version": 1, "export": "newsletter/vip", "profile": "crm:c-1001"}


def attempt(outcome: str) -> dict[str, Any]:
    return {"at": text_of(NOW), "function": "destination", "outcome": outcome, "calls": [], "left_out": 0}


def test_a_look_that_goes_as_an_import_is_followed_to_its_answer(relay: Terminal, door: FakeDoor) -> None:
    queued, taken = attempt("outstanding"), attempt("delivered")
    looks = iter([traced([queued], import_open=True), traced([queued, taken])])
    door.answers |= {"test": {"trace": "t-9", "profile": "p-1"}, "trace": lambda _: next(looks)}

    ended = relay("test", "newsletter/vip", "p-1")

    assert (ended.code, ended.lines[-1]) == (0, "outcome\tdelivered")


def test_an_import_that_is_not_answered_in_time_says_how_to_look_again(relay: Terminal, door: FakeDoor) -> None:
    waiting = traced([attempt("outstanding")], import_open=True)
    door.answers |= {"test": {"trace": "t-9", "profile": "p-1"}, "trace": waiting}

    ended = relay("test", "newsletter/vip", "p-1", "--timeout", "3")

    assert (ended.code, "relay trace t-9" in ended.err) == (5, True)
    assert ended.lines[-1] == "The destination has queued it as an import, and has not answered yet."


@pytest.mark.parametrize(
    ("outcome", "command"),
    [
        ("left to the next run", "relay run newsletter/vip --follow"),
        ("unchanged", "relay explain p-1 newsletter/vip"),
        ("not a member", "relay explain p-1 newsletter/vip"),
    ],
)
def test_a_look_that_sent_nothing_says_why(relay: Terminal, door: FakeDoor, outcome: str, command: str) -> None:
    door.answers |= {"test": {"trace": "t-9", "profile": "p-1"}, "trace": traced([attempt(outcome)])}

    assert relay("test", "newsletter/vip", "p-1").lines[-1].endswith(f"Next: {command}")


def test_a_look_that_does_not_come_is_a_time_out(relay: Terminal, door: FakeDoor) -> None:
    door.answers |= {"test": {"trace": "t-9", "profile": "p-1"}, "trace": traced([])}

    ended = relay("test", "newsletter/vip", "p-1", "--timeout", "3")

    assert (ended.code, "relay trace t-9" in ended.err) == (5, True)


def test_a_trace_is_shown_with_values_only_by_the_function_that_may(relay: Terminal, door: FakeDoor) -> None:
    door.answers["trace"] = traced([])
    relay("trace", "t-9", "--show-values")
    ended = relay("trace", "t-9")

    assert [function for function, _ in door.asked] == ["admin", "view"]
    assert "There was no attempt yet" in ended.out


FORGOTTEN = {
    "profile": "p-1",
    "state": "done",
    "at": text_of(NOW),
    "waiting": [],
    "removed": [{"where": "profiles", "count": 1}, {"where": "assignments", "count": 2}],
    "at_destinations": [{"export": "newsletter/vip", "what": "the contact or user was deleted", "count": 1}],
    "remains": [
        {"where": "backups", "what": "all of it", "until": text_of(NOW + timedelta(days=35))},
        {"where": "tombstone", "what": "a keyed hash", "until": None},
    ],
}


def test_a_person_is_forgotten_once_somebody_agrees_who_sees_who_it_is(relay: Terminal, door: FakeDoor) -> None:
    states = iter(["waiting", "waiting", "done"])
    waiting = [{"export": "product/power", "why": "a call is open"}]
    door.answers["explain"] = {**EXPLAINED, "others": []}
    door.answers["forget"] = lambda _: {**FORGOTTEN, "state": next(states), "waiting": waiting}

    refused = relay("forget", "crm:c-1001", keys="no\n")
    asked_before = [asked["ask"] for _, asked in door.asked]
    ended = relay("forget", "crm:c-1001", "--at-destinations", keys="yes\n")

    assert (refused.code, asked_before) == (3, ["explain"])
    who = "profile p-1 of source crm, assigned by 1 export (newsletter/vip)"
    assert f"Forget {who}, here?" in refused.err + refused.out
    assert ended.code == 0
    asked = [one for function, one in door.asked if function == "forget"]
    assert [(one["profile"], "at_destinations" in one, "since" in one) for one in asked] == [
        ("p-1", True, False),
        ("p-1", False, True),
        ("p-1", False, True),
    ]
    for line in (
        "p-1 is forgotten.",
        "assignments\t2",
        "newsletter/vip\tthe contact or user was deleted\t1",
        "backups\tall of it\t2027-01-01",
        "tombstone\ta keyed hash\tfor good",
    ):
        assert line in ended.lines


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (nobody("No profile is stored under this."), "No profile is stored under this."),
        ({**EXPLAINED, "others": ["p-2"]}, "It stands for several profiles: p-1, p-2."),
    ],
)
def test_nobody_is_asked_about_who_cannot_be_told(relay: Terminal, door: FakeDoor, found: Any, why: str) -> None:
    door.answers["explain"] = found
    ended = relay("forget", "crm:c-1001", keys="yes\n")
    assert ended.code == 1
    assert why in ended.err
    assert [asked["ask"] for _, asked in door.asked] == ["explain"]


def test_who_asks_for_somebody_who_was_forgotten_is_told_so(relay: Terminal, door: FakeDoor) -> None:
    gone = {**EXPLAINED["profile"], "forgotten_at": text_of(NOW), "stored_at": None, "request": None}
    door.answers["explain"] = {**EXPLAINED, "profile": gone, "others": [], "exports": []}
    assert "was forgotten at 2026-11-27 12:00 UTC" in relay("forget", "p-1", keys="no\n").err
    shown = relay("explain", "p-1").lines
    assert not any(line.startswith(("stored", "changed last")) for line in shown)


def test_forgetting_that_is_not_done_in_time_goes_on(relay: Terminal, door: FakeDoor) -> None:
    door.answers["forget"] = {**FORGOTTEN, "state": "waiting"}

    ended = relay("forget", "p-1", "--yes", "--timeout", "5")

    assert (ended.code, "being forgotten" in ended.lines[0]) == (5, True)
    assert f"relay forget {FORGOTTEN['profile']} --since {FORGOTTEN['at']}" in ended.err
    first, *rest = [question for _, question in door.asked]
    assert "since" not in first
    assert {question["since"] for question in rest} == {FORGOTTEN["at"]}


def test_a_forgetting_that_is_only_looked_at_asks_nobody(relay: Terminal, door: FakeDoor) -> None:
    door.answers["forget"] = FORGOTTEN
    at = str(FORGOTTEN["at"])
    assert relay("forget", "p-1", "--since", at).code == 0
    assert [question["since"] for _, question in door.asked] == [at]


def test_a_forgetting_says_what_it_waits_for(relay: Terminal, door: FakeDoor) -> None:
    states = iter(["waiting", "waiting", "done"])
    waiting = [{"export": "product/power", "why": "a call is open"}]
    door.answers["forget"] = lambda _: {**FORGOTTEN, "state": next(states), "waiting": waiting}

    assert relay("forget", "p-1", "--yes").err.splitlines() == ["It waits for product/power (a call is open)."]


def test_segments_are_listed(relay: Terminal, door: FakeDoor) -> None:
    door.answers["segments"] = SEGMENTS

    assert relay("segments", "list").lines[1:] == [
        "crm/vip\tVIP\t9 d ago\tnewsletter/vip, product/power\t1,200\t2026-11-26",
        "crm/trial\t-\t0 s ago\t-\t-\t-",
        "Exports name segments that were never seen: crm/typo.",
    ]
    assert relay("segments", "list", "--json").json_lines == [*SEGMENTS["segments"], {"never_seen": "crm/typo"}]


def test_members_are_counted_in_pages(relay: Terminal, door: FakeDoor) -> None:
    door.answers["segment"] = counting

    ended = relay("segments", "show", "crm/vip")

    assert ended.lines[0] == "We hold 1,203 members of crm/vip."
    assert "left in the last 30 days or so\t4" in ended.lines
    assert "first change\t2026-11-19 12:00 UTC" in ended.lines
    assert "last change\t2026-11-26 12:00 UTC" in ended.lines
    assert "2026-11-26\tnewsletter/vip\t1,190\t1,180\t01RUN1" in ended.lines


@pytest.mark.parametrize(
    ("expect", "more", "code"), [("1203", [], 0), ("1210", [], 1), ("1210", ["--tolerance", "7"], 0)]
)
def test_members_are_compared(relay: Terminal, door: FakeDoor, expect: str, more: list[str], code: int) -> None:
    door.answers["segment"] = counting

    ended = relay("segments", "compare", "crm/vip", "--expect", expect, *more, "--json")

    assert (ended.code, ended.json["difference"]) == (code, 1203 - int(expect))


def test_members_are_compared_with_what_the_destinations_say_now(relay: Terminal, door: FakeDoor) -> None:
    door.answers["segment"] = counting

    ended = relay("segments", "compare", "crm/vip", "--expect", "1203")

    assert [question.get("ask_destinations") for _, question in door.asked] == [True, True]
    assert "newsletter/vip\tlist/7\t4,000\t1,180\tcrm/trial, crm/vip\t-" in ended.lines
    without = "product/power\tsegment/crm/vip\t-\t1,170\tcrm/vip\tits API does not say how many are in it"
    assert without in ended.lines


def test_a_segment_that_no_export_sends_is_at_no_destination(relay: Terminal, door: FakeDoor) -> None:
    door.answers["segment"] = lambda question: {**counting(question), "at_destinations": []}

    ended = relay("segments", "compare", "crm/vip", "--expect", "1203")

    assert ended.lines[-1] == "No export sends this segment."


def test_a_body_is_posted_and_followed_to_the_destinations(relay: Terminal, door: FakeDoor) -> None:
    waiting = change(merged="waiting", exports=[])
    looks = iter([following(waiting, settled=False), following(change("waiting"), settled=False), following(change())])
    door.answers["follow"] = lambda _: next(looks)
    (relay.folder / "body.json").write_text('{"changes": []}')

    ended = relay("send", "crm", "body.json")

    assert door.posted == [("crm", b'{"changes": []}', {"Authorization": "Bearer s3cret-token"})]
    assert door.asked[0][1] == {
        "ask": "follow", "version": 1, "source": "crm", "body": '{"changes": []}', "received_at": NOW.isoformat()
    }  # fmt: skip
    assert (ended.code, ended.lines[1]) == (0, "1\tp-1\tmerged\tnewsletter/vip\tdelivered\tIt is delivered.")
    assert "s3cret" not in ended.out + ended.err


def test_what_is_rejected_on_the_way_is_an_exit_code(relay: Terminal, door: FakeDoor) -> None:
    rejected = change(exports=[at_one("rejected", "bounced"), at_one("not selected", export="product/power")])
    unread = change(position=1, rejected="no_key", profile=None, merged=False, exports=[])
    stale = change(position=2, merged="stale", exports=[])
    door.answers["follow"] = following(rejected, unread, stale, left_out=1)

    ended = relay("send", "crm", "-", stdin="{}")

    assert ended.code == 1
    assert ended.lines[1].endswith("newsletter/vip\trejected\tbounced")
    assert ended.lines[3].startswith("2\t-\trejected")


def test_a_body_that_names_nobody_says_what_names_a_person(relay: Terminal, door: FakeDoor) -> None:
    door.answers["follow"] = following(change(rejected="no_identity", profile=None, merged=False, exports=[]))

    ended = relay("send", "crm", "-", stdin="{}")

    assert (ended.code, "What names a person is identities.crm (profile_key of crm)." in ended.err) == (1, True)
    assert "relay sources test crm FILE" in ended.err


def test_a_signed_body_is_followed_by_the_id_of_its_message(relay: Terminal, door: FakeDoor) -> None:
    door.secrets["sources/crm"] |= {"auth": "standard-webhooks", "secret": SIGNING}
    door.answers["follow"] = following(change())
    relay("send", "crm", "-", stdin="{}")

    assert door.asked[0][1]["webhook_id"] == door.posted[0][2]["webhook-id"]


def test_a_long_body_is_followed_in_pages(relay: Terminal, door: FakeDoor) -> None:
    door.answers["follow"] = lambda question: (
        following(change(position=1)) if question.get("after") else {**following(change()), "next": "1"}
    )

    assert [one["position"] for one in relay("send", "crm", "-", "--json", stdin="{}").json_lines] == [0, 1]


def test_what_is_not_settled_in_time_is_shown_as_it_is(relay: Terminal, door: FakeDoor) -> None:
    door.answers["follow"] = following(change("waiting"), settled=False)

    ended = relay("send", "crm", "-", "--timeout", "4", "--json", stdin="{}")

    assert (ended.code, ended.json_lines) == (5, [change("waiting")])


def test_a_body_is_only_posted(relay: Terminal, door: FakeDoor) -> None:
    door.webhook = Posted(202, '{"accepted": 3, "rejected": 1}', NOW)

    ended = relay("send", "crm", "-", "--no-follow", stdin="{}")

    assert (ended.code, ended.lines) == (1, ["3 changes were accepted."])


def test_a_webhook_that_refuses_says_why(relay: Terminal, door: FakeDoor) -> None:
    body = {
        "title": "Bad",
        "detail": "The body is no JSON.",
        "errors": [{"pointer": "/changes", "detail": "is missing"}],
    }
    door.webhook = Posted(400, json.dumps(body), NOW)

    ended = relay("send", "crm", "-", stdin="{")

    assert ended.code == 1
    assert ended.err.splitlines()[:3] == [
        "The webhook answers 400.",
        "The body is no JSON.",
        "  /changes: is missing",
    ]


def test_a_refusal_as_mixpanel_wants_it_says_why(relay: Terminal, door: FakeDoor) -> None:
    body = {"action": "members", "status": "failure", "error": {"message": "#/action must be members.", "code": 400}}
    door.webhook = Posted(400, json.dumps(body), NOW)

    ended = relay("send", "crm", "-", stdin="{}")

    assert (ended.code, ended.err.splitlines()[1]) == (1, "#/action must be members.")


def test_an_answer_without_counts_says_that_it_was_taken_and_what_was_rejected_is_followed(
    relay: Terminal, door: FakeDoor
) -> None:
    door.webhook = Posted(200, '{"action": "members", "status": "success"}', NOW)
    door.answers["follow"] = following(change(), change(position=1, rejected="no_identity", profile=None))

    followed = relay("send", "crm", "-", stdin="{}")
    posted = relay("send", "crm", "-", "--no-follow", stdin="{}")

    assert (followed.code, followed.err.splitlines()[0]) == (1, "The webhook took it.")
    assert (posted.code, posted.lines) == (
        0,
        ["It was taken. The answer that this platform wants does not say how many changes were rejected."],
    )


def test_an_unknown_source_suggests_near_ones(relay: Terminal, door: FakeDoor) -> None:
    ended = relay("send", "shopp", "-", stdin="{}")

    assert (ended.code, "Did you mean shop?" in ended.err, door.posted) == (2, True, [])


@pytest.mark.parametrize(
    ("auth", "secret"),
    [
        ("bearer", "a-long-token"),
        ("basic", "app:a-long-password"),
        ("header", "a-long-token"),
        ("segment", "a-long-key"),
        ("standard-webhooks", SIGNING),
        ("standard-webhooks", f"v1,{SIGNING}"),
        ("standard-webhooks", "a plain text of more than sixteen bytes"),
    ],
)
def test_bodies_are_signed_as_the_stack_verifies_them(auth: str, secret: str) -> None:
    body = b'{"changes": []}'
    options = {"auth_header": "X-Key"}
    headers = proof({"auth": auth, "secret": secret, **options}, body, NOW)

    assert authentic(MODES[auth], [secret], headers, body, now=NOW, options=options)
    assert not authentic(MODES[auth], ["another-secret-of-some-length"], headers, body, now=NOW, options=options)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"signature_algorithm": "sha1", "signature_prefix": "sha1="},
        {"signature_algorithm": "sha512", "signature_encoding": "base64"},
        {"signed_text": "v0:{timestamp}:{body}", "timestamp_header": "X-Time", "signature_prefix": "v0="},
        {"signed_text": "{body}.{timestamp}.end", "timestamp_header": "X-Time"},
    ],
)
def test_bodies_are_signed_as_the_options_of_an_hmac_say(more: dict[str, str]) -> None:
    body, options = b'{"changes": []}', {"signature_header": "X-Signature", **more}
    headers = proof({"auth": "hmac", "secret": "a-long-key", **options}, body, NOW)

    assert authentic(MODES["hmac"], ["a-long-key"], headers, body, now=NOW, options=options)
    assert not authentic(MODES["hmac"], ["a-long-key"], headers, body + b" ", now=NOW, options=options)


def test_every_mode_that_a_source_may_have_can_be_sent() -> None:
    options = {"auth_header": "X-Key", "signature_header": "X-Signature"}
    for auth, mode in MODES.items():
        settings = {"auth": auth, "secret": SIGNING, **options}
        assert authentic(mode, [SIGNING], proof(settings, b"{}", NOW), b"{}", now=NOW, options=options), auth


def test_a_short_text_in_base64_is_taken_as_it_is() -> None:
    assert signing_key("abcd") == b"abcd"
