"""Files replace who is in their segment, on the deployed stack."""

from pathlib import Path

from local.stack import LocalStack
from tests.stack.world import World, bucket_of


def test_a_file_replaces_its_segment_and_the_run_follows(stack: LocalStack, world: World, tmp_path: Path) -> None:
    list_id = world.put_list("customers")
    world.post_shop([world.shop_change(1), world.shop_change(2)])
    world.stored()
    segment = f"{world.shop.source}/customers"
    rows = [f"{world.name}-{number},{world.email(number)},Filed{number}" for number in (2, 3)]
    file = tmp_path / "customers.csv"
    file.write_text("\n".join(["crm_id,identities.email,first_name", *rows, ""]), encoding="utf-8")
    world.administrator.wait_until_runs_start()
    (done,) = world.operator.relay("segments", "import", segment, str(file), ticking=True)
    counts = done["counts"]
    assert (done["state"], counts["rows"], counts["entered"], counts["updated"], counts["left"]) == ("done", 2, 1, 1, 1)
    assert done["runs"][world.list_export] is not None
    listed = stack.client("s3").list_objects_v2(Bucket=bucket_of(stack), Prefix=f"segments/{segment}/")["Contents"]
    assert {one["Key"].rpartition("/")[2] for one in listed} == {"customers.csv", "manifest"}

    def are_there() -> bool:
        return {one[0] for one in world.contacts(list_id).values()} == {"Filed2", "Filed3"}

    world.until("the contacts", are_there, 90)
