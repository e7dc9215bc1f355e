"""A file in the bucket replaces who is in its segment, on the deployed stack."""

import json

from local.stack import LocalStack
from tests.stack.world import World, bucket_of


def test_a_file_in_the_bucket_replaces_its_segment(stack: LocalStack, world: World) -> None:
    list_id = world.put_list("customers")
    world.post_shop([world.shop_change(1), world.shop_change(2)])
    world.stored()
    segment, bucket = f"{world.shop.source}/customers", bucket_of(stack)
    rows = [f"{world.name}-{number},{world.email(number)},Filed{number}" for number in (2, 3)]
    text = "\n".join(["crm_id,identities.email,first_name", *rows, ""])
    folder, client = f"segments/{segment}/", stack.client("s3")
    client.put_object(Bucket=bucket, Key=f"{folder}part.csv", Body=text)
    # With a manifest nobody waits for more parts.
    entry = {"url": f"s3://{bucket}/{folder}part.csv", "meta": {"content_length": len(text)}}
    client.put_object(Bucket=bucket, Key=f"{folder}manifest", Body=json.dumps({"entries": [entry]}))

    def is_done() -> bool:
        world.operator.tick()
        return [one["state"] for one in world.operator.relay("segments", "imports", "list", segment)] == ["done"]

    world.until("the import", is_done, 90)
    [found] = world.operator.relay("segments", "imports", "list", segment)
    counts = found["counts"]
    assert (counts["rows"], counts["entered"], counts["updated"], counts["left"]) == (2, 1, 1, 1)
    # The run that follows is requested by the import, and started by the clock.
    world.administrator.wait_until_runs_start()
    world.operator.tick()

    def are_there() -> bool:
        return {one[0] for one in world.contacts(list_id).values()} == {"Filed2", "Filed3"}

    world.until("the contacts", are_there, 90)
