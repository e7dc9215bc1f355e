"""What `make up` puts there works as it is printed: one command, and the destinations hold one person more."""

from local import samples
from local.roles import SandboxControl
from tests.stack.shell import curl
from tests.stack.world import World


def test_the_printed_command_sends_somebody_who_streams_and_the_printed_export_brings_them(world: World) -> None:
    stack = world.stack
    put = samples.put(stack, f"{world.name}-")
    assert {export["destination"] for export in put["exports"].values()} == stack.sandboxes.keys()

    assert curl(put["curl"]).json()["accepted"] == 1

    def members() -> dict[str, set[str]]:
        return {one["externalId"]: set(one["members"]) for one in world.px.state()["segments"]}

    everybody = {"c-1001", "c-1002", "c-1003"}
    world.until("all three at Gainsight PX", lambda: members().get(put["segment"]) == everybody)

    (key,) = (key for key, export in put["exports"].items() if export["destination"] == "activecampaign")
    held = SandboxControl(put["exports"][key]["holds"].removesuffix("/_sandbox/state"))
    world.run(key)
    emails = {one["email"] for one in held.state()["contacts"] if one["lists"].get("1", {}).get("status") == 1}
    assert emails >= {"kim@example.com", "robin@example.com", "sam@example.com"}
