"""Settings as administrators write them: what is taken, what is reported, and that one's fault harms no other."""

import json
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import ANY

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.destinations import registry
from relay.domain.problems import Actor, Busy, Fault, SettingsProblem, StaleSettings
from relay.settings.doors import MAX_KEPT
from relay.settings.exports import MAX_SEGMENT_BYTES
from relay.settings.names import UnknownConnection, UnknownExport, UnknownSource
from relay.settings.settings import Settings
from relay.settings.shapes import Listing
from relay.settings.sources import UNKNOWN_LOOKUPS_AT_ONCE, TooManyUnknownSources
from tests.fakes import careless_tool
from tests.fakes.clock import FakeClock
from tests.fakes.secrets import FakeParameters, FakeSecrets, refusal

TOKEN = "a-secret-token"
API_KEY = "k3y-of-the-account"
SOURCE = {"dialect": "adobe-http", "auth": "bearer", "secret": TOKEN, "profile_key": "identities.crmId"}
CONNECTION = {
    "destination": "newsletter_tool",
    "display_name": "Readers",
    "privacy_consent": "I agree",
    "api_key": API_KEY,
}
EXPORT: dict[str, Any] = {
    "state": "active",
    "segments": ["shop/vip", "aep/3f1d/0c52"],
    "mapping": {"email": "attributes.email"},
    "options": {"list_id": 7},
}


class Console:
    """Settings over a console that holds one valid source, connection and export."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.secrets = FakeSecrets()
        self.ssm = FakeParameters()
        self.settings = Settings(
            "relay",
            secrets=self.secrets,
            ssm=self.ssm,
            seconds=30,
            clock=self.clock,
            destinations=careless_tool.load,
        )
        self.write_source(**SOURCE)
        self.write_connection(**CONNECTION)
        self.write_export(**EXPORT)

    def write_source(self, name: str = "shop", **fields: Any) -> None:
        self.secrets[f"relay/sources/{name}"] = fields

    def write_connection(self, name: str = "readers", **fields: Any) -> None:
        self.secrets[f"relay/connections/{name}"] = fields

    def write_export(self, key: str = "readers/weekly", **fields: Any) -> None:
        self.ssm[f"/relay/exports/{key}"] = fields


@pytest.fixture
def console() -> Console:
    return Console()


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


class TestSource:
    def test_is_read_as_written(self, console: Console) -> None:
        console.write_source(**SOURCE, previous_secret="the-old-one", segment_namespaces=" ups, AAM ,")

        source = console.settings.source("shop")

        assert (source.name, source.dialect, source.auth) == ("shop", "adobe-http", "bearer")
        assert source.secrets == (TOKEN, "the-old-one")
        assert source.segment_namespaces == {"ups", "AAM"}
        assert TOKEN not in repr(source)

    def test_defaults(self, console: Console) -> None:
        console.write_source(**{**SOURCE, "secret": f" {TOKEN}\n", "previous_secret": "", "segment_namespaces": ""})

        source = console.settings.source("shop")

        assert source.secrets == (TOKEN,)
        assert source.segment_namespaces == {"ups"}

    @pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\ufeff \n", "\u2060\u00ad"])
    def test_what_came_along_with_a_copied_value_is_taken_off(self, console: Console, mark: str) -> None:
        console.write_source(**{key: f"{mark}{value}{mark}" for key, value in SOURCE.items()})
        source = console.settings.source("shop")
        assert (source.dialect, source.auth, source.secrets) == ("adobe-http", "bearer", (TOKEN,))
        assert source.profile_key == SOURCE["profile_key"]

    @pytest.mark.parametrize("text", ["\ufeff{told}", "\ufeff\n {told}\n", "{marked}"])
    def test_a_byte_order_mark_is_no_part_of_a_secret(self, console: Console, text: str) -> None:
        marked = {f"\ufeff{key}": value for key, value in SOURCE.items()}
        given = text.replace("{told}", json.dumps(SOURCE)).replace("{marked}", json.dumps(marked))
        console.secrets["relay/sources/shop"] = given
        assert console.settings.source("shop").dialect == "adobe-http"

    @pytest.mark.parametrize("inside", ["\ufeff", "\u200b", "\u00a0"])
    def test_an_invisible_character_inside_a_token_is_told(self, console: Console, inside: str) -> None:
        console.write_source(**{**SOURCE, "secret": f"tok{inside}en"})
        with pytest.raises(SettingsProblem, match=f"secret: .*U\\+{ord(inside):04X}"):
            console.settings.source("shop")

    @pytest.mark.parametrize(
        ("key", "nearest"),
        [
            ("previous_secrets", "previous_secret"),
            ("Secret", "secret"),
            ("profileKey", "profile_key"),
            ("profile-key", "profile_key"),
            ("segment namespaces", "segment_namespaces"),
            ("dialekt", "dialect"),
        ],
    )
    def test_a_key_that_nobody_knows_names_the_nearest(self, console: Console, key: str, nearest: str) -> None:
        console.write_source(**{**SOURCE, key: "x"})
        with pytest.raises(SettingsProblem, match=rf"known.*; known are .*; the nearest is {nearest}$") as caught:
            console.settings.source("shop")
        looks_like_a_key = key.islower() and "-" not in key and " " not in key
        assert caught.value.faults == (Fault(key if looks_like_a_key else "value", ANY, nearest),)

    @pytest.mark.parametrize("key", [TOKEN, "x" * 100_000, "zzz9", "kim@x.example"])
    def test_a_value_in_the_column_of_the_keys_is_not_told(self, console: Console, key: str) -> None:
        console.write_source(**{**SOURCE, key: "secret"})
        with pytest.raises(SettingsProblem) as caught:
            console.settings.source("shop")
        assert key not in str(caught.value)

    @pytest.mark.parametrize("name", ["nobody", "", "Shop", "-a", "a/b", "a" * 64, "../shop", "shop\n"])
    def test_unknown(self, console: Console, name: str) -> None:
        with pytest.raises(UnknownSource):
            console.settings.source(name)

    def test_a_name_that_cannot_be_one_is_not_looked_up(self, console: Console) -> None:
        with pytest.raises(UnknownSource):
            console.settings.source("a b")
        assert console.secrets.reads == []

    @pytest.mark.parametrize(
        ("fields", "field", "reason"),
        [
            (without(SOURCE, "dialect"), "dialect", "is missing"),
            ({**SOURCE, "dialect": "xml"}, "dialect", "must be one of adobe-http, "),
            (
                {**SOURCE, "auth": "none"},
                "auth",
                "must be one of bearer, header, basic, standard-webhooks, hmac, segment",
            ),
            (without(SOURCE, "secret"), "secret", "is missing"),
            ({**SOURCE, "secret": " "}, "secret", "is missing"),
            ({**SOURCE, "secret": "two words"}, "secret", "without blanks"),
            ({**SOURCE, "auth": "standard-webhooks"}, "secret", "whsec_"),
            ({**SOURCE, "previous_secret": "two words"}, "previous_secret", "without blanks"),
            ({**SOURCE, "profile_key": "identities."}, "profile_key", "not a JMESPath expression"),
            ({**SOURCE, "profile_key": "lower(identities.crm[0])"}, "profile_key", "unknown function lower()"),
            ({**SOURCE, "profile_key": "join(identities.crm)"}, "profile_key", "join() takes 2 arguments, and has 1"),
            ({**SOURCE, "profile_key": "@" + "|[@,@]" * 40}, "profile_key", "whatever the profile"),
            (
                {**SOURCE, "previous_secrets": TOKEN},
                "previous_secrets",
                "is not known; known are dialect, auth",
            ),
            ({**SOURCE, TOKEN: "secret"}, "value", "unknown key"),
            ({**SOURCE, "secret": 5}, "secret", "must be a text"),
            ({**SOURCE, "segments": ","}, "segments", "must name at least one segment"),
            ({**SOURCE, "segments": "[]"}, "segments", "must name at least one segment"),
            ({**SOURCE, "segments": "[vip"}, "segments", "begins like a JSON list"),
            ({**SOURCE, "segments": "[1]"}, "segments", "must be a JSON list of texts"),
        ],
    )
    def test_what_is_wrong_is_told_by_field(
        self, console: Console, fields: dict[str, Any], field: str, reason: str
    ) -> None:
        console.write_source(**fields)

        with pytest.raises(SettingsProblem) as caught:
            console.settings.source("shop")

        assert caught.value.field == field
        assert reason in caught.value.what
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize(
        ("segments", "kept"),
        [
            ("vip", {"vip"}),
            (" vip , lapsed,", {"vip", "lapsed"}),
            ("vip, of 2026\nlapsed\r\n\n", {"vip, of 2026", "lapsed"}),
            ('["vip, of 2026", "lapsed"]', {"vip, of 2026", "lapsed"}),
            ("shop/vip", {"vip", "shop/vip"}),
        ],
    )
    def test_a_source_may_be_limited_to_segments(self, console: Console, segments: str, kept: set[str]) -> None:
        console.write_source(**SOURCE, segments=segments)
        assert set(console.settings.source("shop").segments or ()) == {f"shop/{one}" for one in kept}

    def test_every_fault_is_sent_at_once(self, console: Console) -> None:
        console.write_source(dialect="xml", secret=TOKEN)
        with pytest.raises(SettingsProblem, match=r"dialect: .*auth: is missing; profile_key: is missing"):
            console.settings.source("shop")

    @pytest.mark.parametrize("text", ["token", "[]", '"a"', b"binary"])
    def test_a_secret_that_is_not_key_value(self, console: Console, text: Any) -> None:
        console.secrets["relay/sources/shop"] = text
        with pytest.raises(SettingsProblem):
            console.settings.source("shop")

    @pytest.mark.parametrize(
        ("code", "given"),
        [
            ("InvalidRequestException", "pending_deletion"),
            ("AccessDeniedException", "unreadable"),
            ("DecryptionFailure", "unreadable"),
        ],
    )
    def test_a_secret_that_cannot_be_read(self, console: Console, code: str, given: str) -> None:
        console.secrets["relay/sources/shop"] = refusal(code)
        with pytest.raises(SettingsProblem) as caught:
            console.settings.source("shop")
        assert caught.value.code == given

    @pytest.mark.parametrize(
        "error",
        [
            refusal("ThrottlingException"),
            refusal("KMSThrottlingException"),
            refusal("KMSInternalException"),
            EndpointConnectionError(endpoint_url="x"),
        ],
    )
    def test_trouble_passes_and_is_not_kept(self, console: Console, error: Exception) -> None:
        console.secrets["relay/sources/shop"] = error
        with pytest.raises(Busy) as caught:
            console.settings.source("shop")
        assert "Lovelace" not in str(caught.value)

        console.write_source(**SOURCE)
        assert console.settings.source("shop").name == "shop"


class TestKeeping:
    def test_edits_are_seen_after_the_seconds(self, console: Console) -> None:
        console.settings.source("shop")
        console.write_source(**{**SOURCE, "auth": "none"})

        console.clock.advance(29)
        assert console.settings.source("shop").auth == "bearer"
        console.clock.advance(1)
        with pytest.raises(SettingsProblem):
            console.settings.source("shop")

    def test_a_source_is_checked_once_for_each_time_it_is_read(self, console: Console) -> None:
        first = console.settings.source("shop")
        assert console.settings.source("shop") is first
        console.clock.advance(30)
        assert console.settings.source("shop") == first
        console.write_source(**{**SOURCE, "profile_key": "attributes.id"})
        console.clock.advance(30)
        assert console.settings.source("shop").profile_key == "attributes.id"

    def test_what_was_not_there_is_looked_up_once(self, console: Console) -> None:
        for _ in range(3):
            with pytest.raises(UnknownSource):
                console.settings.source("new")
        assert len(console.secrets.reads) == 1

        console.write_source("new", **SOURCE)
        console.clock.advance(30)
        assert console.settings.source("new").name == "new"

    def test_made_up_names_cost_few_calls_and_push_out_nobody(self, console: Console) -> None:
        console.settings.source("shop")
        for number in range(2 * MAX_KEPT):
            with pytest.raises((UnknownSource, TooManyUnknownSources)):
                console.settings.source(f"made-up-{number}")
        console.settings.source("shop")

        assert len(console.secrets.reads) == UNKNOWN_LOOKUPS_AT_ONCE
        console.clock.advance(60)
        console.settings.source("shop")
        assert console.secrets.reads.count("relay/sources/shop") == 2

    def test_a_new_source_is_seen_within_a_minute_of_a_flood(self, console: Console) -> None:
        for number in range(2 * MAX_KEPT):
            with pytest.raises((UnknownSource, TooManyUnknownSources)):
                console.settings.source(f"made-up-{number}")
        with pytest.raises(TooManyUnknownSources):
            console.settings.source("new")

        console.write_source("new", **SOURCE)
        console.clock.advance(1)
        assert console.settings.source("new").name == "new"

    def test_a_source_that_was_found_is_read_again_whatever_else_is_asked_for(self, console: Console) -> None:
        console.settings.source("shop")
        for number in range(UNKNOWN_LOOKUPS_AT_ONCE):
            with pytest.raises((UnknownSource, TooManyUnknownSources)):
                console.settings.source(f"made-up-{number}")
        console.secrets["relay/sources/shop"] = {**SOURCE, "profile_key": "attributes.id"}
        console.clock.time += timedelta(seconds=30)
        for number in range(UNKNOWN_LOOKUPS_AT_ONCE):
            with pytest.raises((UnknownSource, TooManyUnknownSources)):
                console.settings.source(f"others-{number}")
        assert console.settings.source("shop").profile_key == "attributes.id"

    def test_a_fresh_connection_is_read_past_what_is_kept(self, console: Console) -> None:
        console.settings.connection("readers")
        console.write_connection(**{**CONNECTION, "api_key": "the-new-key"})

        assert console.settings.connection("readers").settings.api_key == API_KEY
        assert console.settings.connection("readers", fresh=True).settings.api_key == "the-new-key"
        assert console.settings.connection("readers").settings.api_key == "the-new-key"

    def test_the_identity_key_is_kept_for_good(self, console: Console) -> None:
        with pytest.raises(SettingsProblem):
            console.settings.identity_key()
        console.secrets["relay/stack/identity-key"] = "made-once"
        assert console.settings.identity_key() == "made-once"
        console.clock.advance(10_000)
        assert console.settings.identity_key() == "made-once"
        assert console.secrets.reads.count("relay/stack/identity-key") == 2


class TestConnection:
    def test_is_read_with_the_destinations_own_model(self, console: Console) -> None:
        console.write_connection(**CONNECTION, description="for the weekly letter", region="us")

        connection = console.settings.connection("readers")

        assert (connection.name, connection.destination, connection.display_name) == (
            "readers",
            "newsletter_tool",
            "Readers",
        )
        assert (connection.settings.api_key, connection.settings.region) == (API_KEY, "us")

    def test_unknown(self, console: Console) -> None:
        with pytest.raises(UnknownConnection):
            console.settings.connection("nobody")

    @pytest.mark.parametrize(
        ("fields", "code", "field"),
        [
            (without(CONNECTION, "destination"), "missing", "destination"),
            ({**CONNECTION, "display_name": " "}, "missing", "display_name"),
            ({**CONNECTION, "destination": "fax"}, "unknown_destination", "destination"),
            (without(CONNECTION, "privacy_consent"), "no_consent", "privacy_consent"),
            ({**CONNECTION, "privacy_consent": "yes"}, "no_consent", "privacy_consent"),
            (without(CONNECTION, "api_key"), "invalid", "api_key"),
            ({**CONNECTION, "api_keys": "x"}, "invalid", "api_keys"),
            ({**CONNECTION, "API KEY": "x"}, "invalid", "value"),
        ],
    )
    def test_what_is_wrong_is_told_by_field(
        self, console: Console, fields: dict[str, Any], code: str, field: str
    ) -> None:
        console.write_connection(**fields)
        with pytest.raises(SettingsProblem) as caught:
            console.settings.connection("readers")
        assert (caught.value.code, caught.value.field) == (code, field)

    def test_a_value_that_a_model_repeats_is_struck_out(self, console: Console) -> None:
        console.write_connection(**{**CONNECTION, "api_key": "s3cret"})
        with pytest.raises(SettingsProblem) as caught:
            console.settings.connection("readers")
        assert "*** is too short" in caught.value.what
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("mark", ["\ufeff", "\u200b", " \u2060"])
    def test_what_came_along_with_a_copied_value_is_taken_off(self, console: Console, mark: str) -> None:
        marked = {key: f"{mark}{value}{mark}" for key, value in CONNECTION.items() if key != "api_key"}
        console.write_connection(**marked, api_key=API_KEY)
        assert console.settings.connection("readers").destination == "newsletter_tool"

    def test_a_key_that_nobody_knows_names_the_nearest(self, console: Console) -> None:
        console.write_connection(**{**CONNECTION, "api_keys": "x"})
        with pytest.raises(SettingsProblem, match="; the nearest is api_key"):
            console.settings.connection("readers")

    def test_a_byte_order_mark_is_no_part_of_a_secret(self, console: Console) -> None:
        marked = {f"\ufeff{key}": f"\ufeff{value}" for key, value in CONNECTION.items()}
        console.secrets["relay/connections/readers"] = "\ufeff" + json.dumps(marked)
        assert console.settings.connection("readers").settings.api_key == API_KEY

    def test_an_invalid_name(self, console: Console) -> None:
        with pytest.raises(SettingsProblem) as caught:
            console.settings.connection("Readers")
        assert caught.value.code == "invalid_name"


class TestExport:
    def test_is_read_with_the_destinations_own_options(self, console: Console) -> None:
        export = console.settings.export("readers/weekly")

        assert (export.key, export.destination, export.active) == ("readers/weekly", "newsletter_tool", True)
        assert export.stream is False
        assert export.segments == ("shop/vip", "aep/3f1d/0c52")
        assert export.mapping == {"email": "attributes.email"}
        assert export.only_if is None
        assert export.options.list_id == 7

    def test_may_have_an_only_if(self, console: Console) -> None:
        console.write_export(**EXPORT, only_if="attributes.adult")
        assert console.settings.export("readers/weekly").only_if == "attributes.adult"

    def test_stream_and_state_as_written(self, console: Console) -> None:
        console.write_export(**{**EXPORT, "stream": True, "state": "paused"})
        export = console.settings.export("readers/weekly")
        assert (export.stream, export.active) == (True, False)

    @pytest.mark.parametrize(
        ("fields", "field", "reason"),
        [
            (without(EXPORT, "state"), "state", "is missing"),
            ({**EXPORT, "state": "on"}, "state", "'active' or 'paused'"),
            ({**EXPORT, "stream": "yes"}, "stream", "boolean"),
            ({**EXPORT, "segments": []}, "segments", "at least 1"),
            ({**EXPORT, "segments": [f"shop/{n}" for n in range(51)]}, "segments", "at most 50"),
            ({**EXPORT, "segments": ["vip"]}, "segments", "entry 1 must be source/segment"),
            ({**EXPORT, "segments": ["shop/a", "shop/b", "shop/a"]}, "segments", "entry 3 is there twice"),
            ({**EXPORT, "segments": "shop/vip"}, "segments", "must be a list"),
            ({**EXPORT, "segments": ["shop/vip", 7]}, "segments", "entry 2 must be source/segment"),
            ({**EXPORT, "segments": ["shop/" + "😀" * 256]}, "segments", "entry 1 is longer than 1024 bytes in UTF-8"),
            ({**EXPORT, "mapping": {"email": "a b"}}, "mapping.email", "not a JMESPath expression"),
            ({**EXPORT, "only_if": "a b"}, "only_if", "not a JMESPath expression"),
            ({**EXPORT, "only_if": True}, "only_if", "as text"),
            ({**EXPORT, "only_if": "lower(a)"}, "only_if", "unknown function lower()"),
            ({**EXPORT, "mapping": {"email": 7}}, "mapping.email", "as text"),
            ({**EXPORT, "mapping": ["email"]}, "mapping", "must be an object"),
            ({**EXPORT, "options": 7}, "options", "must be an object"),
            ({**EXPORT, "description": 7}, "description", "must be a text"),
            ({**EXPORT, "mapping": {"email": "lower(a)"}}, "mapping.email", "unknown function lower()"),
            (
                {**EXPORT, "mapping": {"email": "a", "phone": "join(b)"}},
                "mapping.phone",
                "takes 2 arguments, and has 1",
            ),
            ({**EXPORT, "mapping": {"email": "a", "fields.4": "sum('b')"}}, "mapping.fields.4", "sum() can only fail"),
            ({**EXPORT, "mapping": {"email": "a" * 2001}}, "mapping.email", "longer than 2000 characters"),
            ({**EXPORT, "mapping": {"name": "a"}}, "mapping.email", "is required"),
            ({**EXPORT, "options": {}}, "options.list_id", "is missing"),
            ({**EXPORT, "options": {"list_id": 1, "x": 2}}, "options.x", "is not known; known are list_id"),
            ({**EXPORT, "segmets": []}, "segmets", "the nearest is segments"),
        ],
    )
    def test_what_is_wrong_is_told_by_field(
        self, console: Console, fields: dict[str, Any], field: str, reason: str
    ) -> None:
        console.write_export(**fields)
        with pytest.raises(SettingsProblem) as caught:
            console.settings.export("readers/weekly")
        assert caught.value.field == field
        assert reason in caught.value.what

    def test_a_segment_as_long_as_a_key_may_be(self, console: Console) -> None:
        longest = "a" * 63 + "/" + "é" * 256
        assert len(longest.encode()) < MAX_SEGMENT_BYTES
        console.write_export(**{**EXPORT, "segments": [longest]})
        assert console.settings.export("readers/weekly").segments == (longest,)

    def test_a_byte_order_mark_is_no_part_of_a_parameter(self, console: Console) -> None:
        console.ssm["/relay/exports/readers/weekly"] = "\ufeff" + json.dumps(EXPORT)
        assert console.settings.export("readers/weekly").active

    @pytest.mark.parametrize("text", ["{", "[]", "7", "", "[" * 100_000])
    def test_what_is_no_json_object(self, console: Console, text: str) -> None:
        console.ssm["/relay/exports/readers/weekly"] = text
        with pytest.raises(SettingsProblem):
            console.settings.export("readers/weekly")

    @pytest.mark.parametrize("key", ["readers/none", "nobody/weekly"])
    def test_unknown(self, console: Console, key: str) -> None:
        with pytest.raises(UnknownExport):
            console.settings.export(key)

    @pytest.mark.parametrize("key", ["readers", "readers/", "a/b/c", "Readers/weekly", "readers/*"])
    def test_an_invalid_key(self, console: Console, key: str) -> None:
        with pytest.raises(SettingsProblem) as caught:
            console.settings.export(key)
        assert caught.value.code == "invalid_name"

    def test_a_newer_version_is_read_when_a_message_names_it(self, console: Console) -> None:
        old = console.settings.export("readers/weekly")
        console.write_export(**{**EXPORT, "state": "paused"})
        newest = console.settings.export_outlines()["readers/weekly"].version
        assert newest == old.version + 1000

        assert console.settings.export("readers/weekly").active is True
        assert console.settings.export("readers/weekly", at_least=newest).active is False
        assert console.settings.export("readers/weekly").active is False

    def test_an_older_version_than_named_is_never_acted_on(self, console: Console) -> None:
        version = console.settings.export("readers/weekly").version
        with pytest.raises(StaleSettings):
            console.settings.export("readers/weekly", at_least=version + 1)

    def test_a_new_export_is_seen_although_it_was_missed_before(self, console: Console) -> None:
        with pytest.raises(UnknownExport):
            console.settings.export("readers/new")
        console.write_export("readers/new", **EXPORT)
        version = console.settings.export_outlines()["readers/new"].version
        assert console.settings.export("readers/new", at_least=version).name == "new"

    def test_throttling_is_busy(self, console: Console) -> None:
        console.ssm.failure = refusal("ThrottlingException")
        with pytest.raises(Busy):
            console.settings.export("readers/weekly")
        with pytest.raises(Busy):
            console.settings.exports()


class TestListing:
    def test_a_parameter_that_is_deleted_while_it_is_decrypted_is_none(self, console: Console) -> None:
        console.ssm.secure("/relay/exports/readers/gone", EXPORT, locked=refusal("ParameterNotFound"))
        listing = console.settings.exports()
        assert (set(listing.valid), listing.problems) == ({"readers/weekly"}, [])

    def test_while_ssm_is_silent_nothing_counts_as_deleted(self, console: Console) -> None:
        console.ssm.failure = EndpointConnectionError(endpoint_url="x")
        for ask in (console.settings.exports, console.settings.export_keys, partial(console.settings.export, "a/b")):
            with pytest.raises(Busy, match="EndpointConnectionError"):
                ask()

    def test_what_is_invalid_harms_no_other(self, console: Console) -> None:
        console.write_connection("mute", **without(CONNECTION, "privacy_consent"))
        console.write_export("mute/one", **EXPORT)
        console.write_export("mute/two", **EXPORT)
        console.write_export("nobody/one", **EXPORT)
        console.write_export("readers/broken", **{**EXPORT, "segments": []})
        console.write_export("readers/Loud", **EXPORT)
        console.write_export("readers/fine", **EXPORT)

        listing = console.settings.exports()

        assert set(listing.valid) == {"readers/weekly", "readers/fine"}
        assert {one.subject: one.problem.code for one in listing.problems} == {
            "connection mute": "no_consent",
            "connection nobody": "unknown_connection",
            "export readers/broken": "invalid",
            "export readers/Loud": "invalid_name",
        }

    @pytest.mark.parametrize(
        "code", ["AccessDeniedException", "InvalidKeyId", "KMSInvalidStateException", "KMSNotFoundException"]
    )
    def test_a_parameter_that_may_not_be_decrypted_harms_no_other(self, console: Console, code: str) -> None:
        console.ssm.secure("/relay/exports/readers/locked", EXPORT, locked=refusal(code))
        console.ssm.secure("/relay/exports/readers/secure", EXPORT)
        console.write_export("readers/zulu", **EXPORT)

        listing = console.settings.exports()

        assert set(listing.valid) == {"readers/weekly", "readers/secure", "readers/zulu"}
        [invalid] = listing.problems
        assert (invalid.subject, invalid.problem.code) == ("export readers/locked", "unreadable")
        assert invalid.problem.field == "export"
        assert invalid.problem.actor is Actor.ADMINISTRATOR
        assert code in invalid.problem.what
        assert set(console.settings.export_outlines()) == set(listing.valid)
        with pytest.raises(SettingsProblem) as caught:
            console.settings.export("readers/locked")
        assert caught.value.code == "unreadable"

    @pytest.mark.parametrize(
        "locked",
        [
            refusal("AccessDeniedException"),
            refusal("DecryptionFailure"),
            refusal("KMSInvalidStateException"),
            refusal("InvalidRequestException"),
            b"binary",
            "no JSON",
        ],
        ids=["access", "decryption", "kms", "deleted", "binary", "text"],
    )
    def test_a_secret_that_cannot_be_read_harms_no_other_connection(self, console: Console, locked: Any) -> None:
        console.secrets["relay/connections/locked"] = locked
        console.write_export("locked/one", **EXPORT)

        listing = console.settings.exports()

        assert set(listing.valid) == {"readers/weekly"}
        [invalid] = listing.problems
        assert invalid.subject == "connection locked"
        assert invalid.problem.field == "secret"
        assert invalid.problem.actor is Actor.ADMINISTRATOR

    def test_outlines_need_no_secret(self, console: Console) -> None:
        console.write_export("readers/broken", state="active")
        console.write_export("nobody/one", **{**EXPORT, "stream": True})

        outlines = console.settings.export_outlines()

        assert set(outlines) == {"readers/weekly", "nobody/one"}
        assert outlines["readers/weekly"].stream is None
        assert outlines["nobody/one"].stream is True
        assert outlines["nobody/one"].segments == ("shop/vip", "aep/3f1d/0c52")
        assert outlines["nobody/one"].key == "nobody/one"
        assert console.secrets.reads == []

    def test_outlines_are_as_fresh_as_the_settings(self, console: Console) -> None:
        assert set(console.settings.export_outlines()) == {"readers/weekly"}
        console.write_export("readers/weekly", **{**EXPORT, "segments": ["shop/new"]})
        console.write_export("readers/second", **EXPORT)
        console.clock.advance(30)
        outlines = console.settings.export_outlines()
        assert set(outlines) == {"readers/weekly", "readers/second"}
        assert outlines["readers/weekly"].segments == ("shop/new",)

    def test_an_export_that_is_gone_is_gone(self, console: Console) -> None:
        assert set(console.settings.exports().valid) == {"readers/weekly"}
        del console.ssm.parameters["/relay/exports/readers/weekly"]
        console.clock.advance(30)
        assert console.settings.exports().valid == {}

    def test_whoever_asks_for_what_is_there_now_does_not_see_what_was_removed(self, console: Console) -> None:
        assert set(console.settings.exports().valid) == {"readers/weekly"}
        del console.ssm.parameters["/relay/exports/readers/weekly"]
        assert set(console.settings.exports().valid) == {"readers/weekly"}
        assert console.settings.exports(fresh=True) == Listing({}, [])
        assert console.settings.export_keys() == []

    def test_other_paths_are_not_read(self, console: Console) -> None:
        console.ssm["/relay/exports-of-another/readers/x"] = EXPORT
        assert set(console.settings.exports().valid) == {"readers/weekly"}


def test_an_unknown_destination_names_the_known_ones() -> None:
    with pytest.raises(SettingsProblem, match="activecampaign, gainsight_px"):
        registry.load("fax")
