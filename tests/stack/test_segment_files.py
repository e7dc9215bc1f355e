"""Files of a folder replace who is in their segment, on the deployed stack."""

from pathlib import Path

import pyarrow
import pyarrow.parquet

from local.stack import LocalStack
from tests.stack.world import World, bucket_of


def test_a_file_replaces_its_segment_and_the_run_follows(stack: LocalStack, world: World, tmp_path: Path) -> None:
    list_id = world.put_list("customers")
    world.post_shop([world.shop_change(1), world.shop_change(2)])
    world.stored()
    segment = f"{world.shop.source}/customers"
    second, third = (
        {"crm_id": f"{world.name}-{number}", "identities.email": world.email(number), "first_name": f"Filed{number}"}
        for number in (2, 3)
    )
    text = "\n".join([",".join(second), ",".join(second.values()), ""])
    (tmp_path / "customers_1.csv").write_text(text, encoding="utf-8")
    # The layer of the function reads it, not what is installed here.
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([third]), tmp_path / "customers_2.parquet")
    world.administrator.wait_until_runs_start()
    (done,) = world.operator.relay("segments", "import", segment, str(tmp_path), ticking=True)
    counts = done["counts"]
    assert (done["state"], counts["rows"], counts["entered"], counts["updated"], counts["left"]) == ("done", 2, 1, 1, 1)
    assert done["runs"][world.list_export] is not None
    listed = stack.client("s3").list_objects_v2(Bucket=bucket_of(stack), Prefix=f"segments/{segment}/")["Contents"]
    names = {one["Key"].rpartition("/")[2] for one in listed}
    assert names == {"customers_1.csv", "customers_2.parquet", "manifest"}

    def are_there() -> bool:
        return {one[0] for one in world.contacts(list_id).values()} == {"Filed2", "Filed3"}

    world.until("the contacts", are_there, 90)
