"""Data: encrypted, recoverable, and kept when the stack is deleted."""

import re
from collections.abc import Iterator
from typing import Any

from relay.names import table_name
from relay.stores.database import SORTED_TABLES, Table
from tests.unit.template.expanding import Resource, Resources, Source, listed, named, of, refuses_plain_http, target

# What outlives the stack. `Data` says whether the stack makes it or uses what an earlier one left.
KEPT = {*(f"{table.value}Table" for table in Table), "SegmentFilesBucket", "SegmentFilesOnlyByTls", "IdentityKey"}


def test_what_expires_is_deleted_by_dynamodb(resources: Resources) -> None:
    expected = {"AttributeName": "expires_at", "Enabled": True}
    for name, table in of(resources, "AWS::DynamoDB::Table").items():
        assert table["TimeToLiveSpecification"] == expected, name


def test_tables_are_encrypted_recoverable_and_kept(resources: Resources) -> None:
    for name, table in of(resources, "AWS::DynamoDB::Table").items():
        assert table["SSESpecification"]["SSEEnabled"] is True, name
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name
        assert table["BillingMode"] == "PAY_PER_REQUEST", name
        assert _is_kept(resources[name]), name


def test_the_bucket_is_encrypted_private_kept_and_takes_only_tls(resources: Resources) -> None:
    ((name, bucket),) = of(resources, "AWS::S3::Bucket").items()
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")
    blocked = bucket["PublicAccessBlockConfiguration"]
    assert set(blocked) == {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    assert set(blocked.values()) == {True}
    assert _is_kept(resources[name])
    (policy,) = of(resources, "AWS::S3::BucketPolicy").values()
    assert refuses_plain_http(policy["PolicyDocument"])


def test_topics_are_encrypted_with_a_key_that_rotates(resources: Resources) -> None:
    keys = of(resources, "AWS::KMS::Key")
    for name, topic in of(resources, "AWS::SNS::Topic").items():
        assert keys[target(topic["KmsMasterKeyId"])]["EnableKeyRotation"] is True, name


def test_the_identity_key_is_generated_and_kept(resources: Resources) -> None:
    ((name, secret),) = of(resources, "AWS::SecretsManager::Secret").items()
    assert secret["GenerateSecretString"] == {"PasswordLength": 64, "ExcludePunctuation": True}
    assert "SecretString" not in secret
    assert _is_kept(resources[name])


def test_what_is_kept_has_a_name_that_a_later_stack_finds(source: Source, resources: Resources) -> None:
    kept = {name: entry for name, entry in resources.items() if entry.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept.keys() == KEPT
    assert all(_is_kept(entry) for entry in kept.values())
    names = [
        entry["Properties"].get("TableName") or entry["Properties"].get("BucketName") or entry["Properties"].get("Name")
        for name, entry in kept.items()
        if name != "SegmentFilesOnlyByTls"
    ]
    assert all("${Prefix}" in name["Fn::Sub"] for name in names), names
    assert len({name["Fn::Sub"] for name in names}) == len(names)


def test_what_is_kept_is_made_only_when_the_stack_is_new(source: Source, resources: Resources) -> None:
    data = source["Parameters"]["Data"]
    assert (data["Default"], data["AllowedValues"]) == ("new", ["new", "kept"])
    assert source["Conditions"]["MakesData"] == {"Fn::Equals": [{"Ref": "Data"}, "new"]}
    conditions = {name: entry.get("Condition") for name, entry in resources.items() if name in KEPT}
    assert conditions == dict.fromkeys(KEPT, "MakesData")


def test_nothing_refers_to_what_may_not_be_made_without_saying_what_then(source: Source, resources: Resources) -> None:
    """Given `Data` kept, Then no reference is left without its resource."""

    def dangling(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if value.get("Fn::If", [None])[0] == "MakesData":
                yield from dangling(value["Fn::If"][2])
                return
            for key, part in value.items():
                if key == "Ref" and part in KEPT:
                    yield str(part)
                elif key == "Fn::GetAtt" and listed(part)[0].split(".")[0] in KEPT:
                    yield listed(part)[0]
                elif key == "Fn::Sub" and isinstance(part, str):
                    yield from (name for name in re.findall(r"\${(\w+)", part) if name in KEPT)
                else:
                    yield from dangling(part)
        elif isinstance(value, list):
            for part in value:
                yield from dangling(part)

    others = {name: entry for name, entry in resources.items() if name not in KEPT}
    assert [*dangling(others), *dangling(source["Outputs"])] == []


def test_functions_find_every_table_by_its_name_and_its_key(resources: Resources) -> None:
    keys = {
        named(table["TableName"]): [key["AttributeName"] for key in table["KeySchema"]]
        for table in of(resources, "AWS::DynamoDB::Table").values()
    }
    assert keys == {table_name("p", table): ["pk", "sk"] if table in SORTED_TABLES else ["pk"] for table in Table}


def test_a_bucket_name_fits_for_every_prefix(source: Source, resources: Resources) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
    (bucket,) = of(resources, "AWS::S3::Bucket").values()
    longest = {"Prefix": "a" * 31, "AWS::AccountId": "1" * 12, "AWS::Region": "ap-southeast-7"}
    assert re.fullmatch(source["Parameters"]["Prefix"]["AllowedPattern"], longest["Prefix"])
    name = re.sub(r"\${([\w:]+)}", lambda match: longest[match[1]], bucket["BucketName"]["Fn::Sub"])
    assert len(name) <= 63


def _is_kept(resource: Resource) -> bool:
    return (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
