"""Adobe's webhooks to the external segments at Gainsight PX."""

from datetime import timedelta

from tests.stack.world import NOW, World


def test_members_join_and_leave(world: World) -> None:
    world.put_px("trial", "power")
    world.post_adobe(
        world.adobe_profile(1, trial="realized"),
        world.adobe_profile(2, trial="realized", power="realized"),
        world.adobe_profile(3, trial="exited"),
    )
    world.activated()
    one, two, three = (world.customer_id(number) for number in (1, 2, 3))
    world.until("the first members", lambda: world.px_members() == {"trial": {one, two}, "power": {two}})

    later = NOW + timedelta(seconds=1)
    world.post_adobe(
        world.adobe_profile(1, later, trial="exited"),
        world.adobe_profile(2, later, power="exited"),
        world.adobe_profile(3, later, trial="realized", power="realized"),
    )
    world.until("the change of members", lambda: world.px_members() == {"trial": {two, three}, "power": {three}})


def test_duplicates_and_old_news_do_no_harm(world: World) -> None:
    world.put_px("trial")
    world.post_adobe(*[world.adobe_profile(number, trial="realized") for number in range(5)])
    world.activated()
    later = NOW + timedelta(seconds=1)
    world.post_adobe(world.adobe_profile(0, later, trial="exited"))
    expected = {"trial": {world.customer_id(number) for number in range(1, 5)}}
    world.until("the exit", lambda: world.px_members() == expected)
    world.drained("changesQueue", "gainsightpxQueue")
    before = world.px.counters()

    for _ in range(3):
        world.post_adobe(*[world.adobe_profile(number, trial="realized") for number in range(5)])
        world.post_adobe(world.adobe_profile(0, later, trial="exited"))
    world.drained("changesQueue", "gainsightpxQueue")
    after = world.px.counters()
    assert world.px_members() == expected
    assert after["writes"] == before["writes"]
    assert after["times_backwards"] == 0


def test_a_profile_without_its_identity_is_a_rejection(world: World) -> None:
    world.put_px("trial")
    nameless = world.adobe_profile(1, trial="realized")
    del nameless["identityMap"]["crmId"]
    world.post_adobe(nameless, world.adobe_profile(2, trial="realized"))
    world.activated()
    world.until("the other member", lambda: world.px_members() == {"trial": {world.customer_id(2)}})
    counts = world.run(world.px_export)["counts"]
    assert (counts["rejected"], counts["rejected:no_identity"], counts["unchanged"]) == (1, 1, 1)


def test_faults_of_the_destination_are_outlived(world: World) -> None:
    world.put_px("trial")
    world.post_adobe(world.adobe_profile(0, trial="exited"))
    world.activated()
    update = {"path": "/v1/external_segment/update_membership"}
    world.px.misbehave(
        {"match": update, "do": {"status": 429}},
        {"match": update, "do": {"drop": "after"}},
    )
    world.post_adobe(*[world.adobe_profile(number, trial="realized") for number in range(1, 4)])
    expected = {"trial": {world.customer_id(number) for number in range(1, 4)}}
    world.until("the members, after the faults", lambda: world.px_members() == expected, 90)
    world.drained("gainsightpxQueue")
    assert world.px.counters()["times_backwards"] == 0
