"""Small files as warehouses and platforms write them, from the bucket to who is in the segment."""

import gzip
import io
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from relay.domain.segment_imports import ImportState, SegmentImport
from relay.files.layout import QUIET
from relay.stores import profiles, segment_imports, segments
from tests.fakes.segment_files import NOON, SEGMENT
from tests.unit.segment_imports import test_s3
from tests.unit.segment_imports.test_s3 import Source, Stage

FOLDER = f"segments/{SEGMENT}/"
COLUMNS = {"CUSTOMER_ID": "crm", "EMAIL": "email"}


class Warehouse:
    """Writes into the folder of a segment, as of noon; what has come is imported after the quiet time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = Stage()
        self._monkeypatch = monkeypatch
        self.reads("identities.crm", COLUMNS)

    def reads(self, profile_key: str, identities: Mapping[str, str] | None = None) -> None:
        source = Source(profile_key=profile_key, file_identities=identities)
        self._monkeypatch.setattr(test_s3, "SOURCE", source)

    def put(self, name: str, content: bytes | str, minutes: float = 0) -> None:
        body = content.encode() if isinstance(content, str) else content
        self.stage.bucket.put(f"{FOLDER}{name}", body, NOON + timedelta(minutes=minutes))

    def imported(self, *, after: timedelta = QUIET) -> SegmentImport:
        """Return what became of the newest set, so long after noon."""
        self.stage.world.clock.time = NOON + after
        assert self.stage.send({"segment": SEGMENT, "about": ""}) == []
        return segment_imports.latest(self.stage.world.database)[0]

    def members(self) -> list[dict[str, Any]]:
        """Return the attributes of all members, sorted."""
        database = self.stage.world.database
        listed = [one for bucket in range(256) for one in segments.listing(database, SEGMENT, bucket)]
        held = [one for one in profiles.load(database, listed) if one is not None]
        return sorted(({name: one.value for name, one in held_.attributes.items()} for held_ in held), key=str)


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    return Warehouse(monkeypatch)


def parquet(rows: list[dict[str, Any]], compression: str = "snappy") -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, compression=compression)
    return file.getvalue()


def test_snowflake_copies_csv_with_escapes_and_no_quotes(warehouse: Warehouse) -> None:
    first = 'CUSTOMER_ID,CITY,NOTE\nC-1,Antwerp\\, BE,\\N\nC-2,Gent,a "quoted" word\n'
    warehouse.put("data_0_0_0.csv.gz", gzip.compress(first.encode()))
    warehouse.put("data_0_1_0.csv.gz", gzip.compress(b'"CUSTOMER_ID","CITY","NOTE"\n"C-3","Mechelen, BE","a ""b"""\n'))
    warehouse.reads("identities.crm", {"CUSTOMER_ID": "crm"})
    one = warehouse.imported()
    assert (one.state, one.counts["entered"], one.counts.get("broken", 0)) == (ImportState.DONE, 3, 0)
    assert [each["CITY"] for each in warehouse.members()] == ["Antwerp, BE", "Gent", "Mechelen, BE"]


def test_snowflake_copies_parquet_and_json(warehouse: Warehouse) -> None:
    warehouse.put("data_01b2_0_0_0.snappy.parquet", parquet([{"CUSTOMER_ID": "C-1", "EMAIL": "a@x.example"}]))
    one = warehouse.imported()
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 1)
    # OBJECT_CONSTRUCT leaves out what is null.
    rows = b'{"CUSTOMER_ID":"C-1","EMAIL":"a@x.example"}\n{"CUSTOMER_ID":"C-2"}\n'
    warehouse.put("data_0_0_0.json.gz", gzip.compress(rows), 10)
    one = warehouse.imported(after=timedelta(minutes=15))
    assert (one.state, one.counts["entered"], one.counts["unchanged"]) == (ImportState.DONE, 1, 1)


def test_a_copy_of_snowflake_without_header_is_refused_and_says_what_is_missing(warehouse: Warehouse) -> None:
    warehouse.put("data_0_0_0.csv", "C-1,a@x.example\nC-2,b@x.example\n")
    one = warehouse.imported()
    assert (one.state, warehouse.members()) == (ImportState.REFUSED, [])
    assert "has no column CUSTOMER_ID" in (one.reason or "")


def redshift(*names: str, sizes: Mapping[str, int], verbose: bool = True) -> str:
    entries = [
        {
            "url": f"s3://audience-relay-1-eu/{FOLDER}{name}",
            **({"meta": {"content_length": sizes[name], "record_count": 1}} if verbose else {}),
        }
        for name in names
    ]
    columns = ["customer_id", "city", "tags"]
    schema = {"elements": [{"name": name, "type": {"base": "character varying"}} for name in columns]}
    more = {"schema": schema, "author": {"name": "Amazon Redshift", "version": "1.0.0"}} if verbose else {}
    return json.dumps({"entries": entries, **more})


def test_redshift_unloads_pipes_without_header_and_a_manifest_names_the_columns(warehouse: Warehouse) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    # More commas than pipes.
    texts = {"vip_0000_part_00": "C-1|Gent, BE|a, b, c\n", "vip_0001_part_00": "C-2|Ulm|\n"}
    for name, text in texts.items():
        warehouse.put(name, text)
    warehouse.put("vip_manifest", redshift(*texts, sizes={name: len(text) for name, text in texts.items()}), 1)
    one = warehouse.imported(after=timedelta(minutes=1))
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 2)
    assert warehouse.members() == [{"city": "Gent, BE", "tags": "a, b, c"}, {"city": "Ulm"}]


def test_redshift_unloads_csv_with_header_or_parquet_and_a_plain_manifest(warehouse: Warehouse) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    warehouse.put("0000_part_00.gz", gzip.compress(b'customer_id,city\nC-1,"Gent, BE"\n'))
    warehouse.put("0001_part_00.parquet", parquet([{"customer_id": "C-2", "city": "Ulm"}]))
    warehouse.put("manifest", redshift("0000_part_00.gz", "0001_part_00.parquet", sizes={}, verbose=False), 1)
    one = warehouse.imported(after=timedelta(minutes=1))
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 2)


def test_redshift_unloads_partitions_whose_parts_have_the_same_names(warehouse: Warehouse) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    names = ["country=BE/0000_part_00.parquet", "country=DE/0000_part_00.parquet"]
    for number, name in enumerate(names):
        warehouse.put(name, parquet([{"customer_id": f"C-{number}"}]))
    warehouse.put("manifest", redshift(*names, sizes={}, verbose=False), 1)
    one = warehouse.imported(after=timedelta(minutes=1))
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 2)


def test_an_unload_whose_part_is_missing_is_refused_after_an_hour(warehouse: Warehouse) -> None:
    warehouse.put("vip_0000_part_00", "C-1|Gent|a\n")
    sizes = {"vip_0000_part_00": 11, "vip_0001_part_00": 5}
    warehouse.put("vip_manifest", redshift(*sizes, sizes=sizes))
    one = warehouse.imported(after=timedelta(hours=1))
    assert (one.state, one.reason) == (
        ImportState.REFUSED,
        "vip_manifest names 2 parts, and 1 of them are there in their sizes",
    )


def test_bigquery_exports_json_with_whole_numbers_as_texts_and_an_empty_last_file(warehouse: Warehouse) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    warehouse.put("000000000000.json", '{"customer_id":"42","address":{"city":"Ulm"}}\n{"customer_id":"43"}\n')
    warehouse.put("000000000001.json", "")
    one = warehouse.imported()
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 2)
    assert {"address": {"city": "Ulm"}} in warehouse.members()


def test_bigquery_exports_csv_whose_last_file_has_a_header_alone(warehouse: Warehouse) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    warehouse.put("vip-000000000000.csv.gz", gzip.compress(b"customer_id,city\n42,Ulm\n"))
    warehouse.put("vip-000000000001.csv.gz", gzip.compress(b"customer_id,city\n"))
    one = warehouse.imported()
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 1)


def test_databricks_writes_a_folder_with_marks(warehouse: Warehouse) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    part = "part-0000{}-tid-4611-8a6e8a4f-0c3e-4b52-9d36-1b3f0c9d2e11-{}-1-c000.csv"
    warehouse.put(part.format(0, 6), 'customer_id,note\nC-1,"a \\"b\\""\n')
    warehouse.put(part.format(1, 7), "customer_id,note\nC-2,\n")
    warehouse.put("_started_4611", "")
    assert segment_imports.latest(warehouse.stage.world.database) == []
    warehouse.put("_committed_4611", '{"added":[],"removed":[]}', 1)
    warehouse.put("_SUCCESS", "", 1)
    one = warehouse.imported(after=timedelta(minutes=1))
    assert (one.state, one.counts["entered"], one.at) == (ImportState.DONE, 2, NOON)
    assert warehouse.members() == [{"note": 'a "b"'}, {}]


def test_spark_writes_partitions_which_are_one_set_and_its_drafts_are_none(warehouse: Warehouse) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    name = "part-00000-8a6e8a4f-0c3e-4b52-9d36-1b3f0c9d2e11.c000.snappy.parquet"
    for number, country in enumerate(("BE", "DE")):
        warehouse.put(f"run/country={country}/{name}", parquet([{"customer_id": f"C-{number}"}]))
    warehouse.put("run/_temporary/0/task_1/part-00000.csv", "customer_id\nC-9\n")
    warehouse.put("run/_delta_log/00000000000000000000.json", '{"commitInfo":{}}\n')
    warehouse.put("run/_SUCCESS", "", 1)
    one = warehouse.imported(after=timedelta(minutes=10))
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 2)
    assert len(segment_imports.latest(warehouse.stage.world.database)) == 1


@pytest.mark.parametrize("folder", ["dt=2026-11-{}", "2026/11/{}", "load_date=202611{}", "x=2026-11-{}"])
def test_folders_that_name_a_time_hold_sets_of_their_own(warehouse: Warehouse, folder: str) -> None:
    warehouse.reads("identities.crm", {"customer_id": "crm"})
    warehouse.put(f"{folder.format(26)}/vip.csv", "customer_id\nC-1\n")
    warehouse.put(f"{folder.format(27)}/vip.csv", "customer_id\nC-2\nC-3\n", 6)
    one = warehouse.imported(after=timedelta(minutes=11))
    assert (one.state, one.counts["rows"], len(warehouse.members())) == (ImportState.DONE, 2, 2)


@pytest.mark.parametrize("header", ["", "CustomerId,EMail\n"])
def test_customer_insights_writes_partitions_whose_columns_model_json_names(warehouse: Warehouse, header: str) -> None:
    warehouse.reads("identities.crm", {"CustomerId": "crm"})
    model = {"name": "x", "entities": [{"name": "Other", "attributes": []}]}
    attributes = [{"name": name, "dataType": "string"} for name in ("CustomerId", "EMail")]
    model["entities"].append({"name": "HighValueCustomers", "attributes": attributes})  # type: ignore[attr-defined]
    warehouse.put("model.json", json.dumps(model))
    for number in (1, 2):
        text = f'{header}"C-{number}","{number}@x.example"\n'
        warehouse.put(f"HighValueCustomers/2026/11/27/1200/HighValueCustomers_{number}.csv", text)
    one = warehouse.imported()
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 2)
    assert warehouse.members() == [{"EMail": "1@x.example"}, {"EMail": "2@x.example"}]


def test_adobe_exports_full_files_with_a_manifest_and_a_status(warehouse: Warehouse) -> None:
    warehouse.reads("identityMap.ECID[0].id")
    columns = "person.name.firstName,personalEmail.address,identityMap.ECID,segmentMembership.status"
    first = f"{columns}\nKim,kim@x.example,e-1,realized\nLee,lee@x.example,e-2,exited\n"
    second = f"{columns}\nAnn,ann@x.example,e-3,active\n"
    names = ["amazon-s3_vip_20260301_110718.csv", "amazon-s3_vip_20260301_110718_2.csv"]
    for name, text in zip(names, (first, second), strict=True):
        warehouse.put(name, text)
    sizes = [len(first), len(second)]
    results = [
        {"sinkPath": "/destination/output001", "name": name, "size": size}
        for name, size in zip(names, sizes, strict=True)
    ]
    manifest = {"flowRunId": "0ac8f3c0", "scheduledTime": "2026-03-01T11:00:00Z", "exportResults": results}
    warehouse.put("manifest-5d2f-0ac8f3c0.json", json.dumps(manifest), 1)
    one = warehouse.imported(after=timedelta(minutes=1))
    assert (one.state, one.counts["entered"], one.counts["out"]) == (ImportState.DONE, 2, 1)
    assert one.at == NOON - timedelta(hours=1)
    assert {"firstName": "Ann"} in [each["person"]["name"] for each in warehouse.members()]


def test_adobe_exports_json(warehouse: Warehouse) -> None:
    warehouse.reads("identityMap.ECID[0].id")
    row = {
        "person": {"name": {"firstName": "Kim"}},
        "identityMap": {"ECID": [{"id": "e-1", "primary": True}]},
        "segmentMembership": {"ups": {"vip": {"status": "realized", "lastQualificationTime": "2026-02-28T00:00:00Z"}}},
    }
    warehouse.put("amazon-s3_vip_20260301_110718.json", json.dumps(row) + "\n")
    one = warehouse.imported()
    assert (one.state, one.counts["entered"]) == (ImportState.DONE, 1)
