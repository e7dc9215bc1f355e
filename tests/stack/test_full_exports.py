"""Full-segment exports to ActiveCampaign, on demand."""

from tests.stack.world import World

ENOUGH_FOR_IMPORTS = range(120)
"""So many that each of the four shards has more than the ten that go one by one."""

BULK = {"method": "POST", "path": "/api/3/import/bulk_import"}


def _fill(world: World, numbers: range) -> None:
    world.post_shop([world.shop_change(number) for number in numbers])
    world.stored()


def test_a_run_brings_exactly_the_segment_and_the_next_one_nothing(world: World) -> None:
    list_id = world.put_list("customers")
    _fill(world, range(300))
    run = world.run(world.list_export)
    assert (run["state"], run["adds_up"]) == ("finished", True)
    assert run["counts"]["delivered"] == run["counts"]["selected"] == 300
    assert world.contacts(list_id) == {world.email(number): world.contact(number) for number in range(300)}

    before = world.campaign.counters()
    again = world.run(world.list_export)
    # What a run looks at beforehand (the list and its fields) are its only calls.
    ledger = {column: number for column, number in again["counts"].items() if column != "calls"}
    assert ledger == {"selected": 300, "assigned": 300, "unchanged": 300}
    assert world.campaign.counters()["write_calls"] == before["write_calls"]


def test_an_export_that_does_not_stream_acts_in_its_runs_only(world: World) -> None:
    world.put_list("customers")
    before = world.campaign.counters()["calls"]
    _fill(world, range(3))
    world.operator.tick()
    world.drained("activecampaignQueue", "checksQueue")
    assert world.operator.runs(world.list_export) == []
    assert world.campaign.counters()["calls"] == before


def test_a_segment_never_seen_is_refused(world: World) -> None:
    world.put_list("customers", "mistyped")
    _fill(world, range(3))
    run = world.run(world.list_export)
    assert run["state"] == "refused"
    assert f"{world.shop.source}/mistyped" in run["reason"]


def test_what_an_import_refuses_is_a_rejection(world: World) -> None:
    list_id = world.put_list("customers")
    _fill(world, ENOUGH_FOR_IMPORTS)
    # By hand: 1 unsubscribed, 2 excluded, 3 bounced. And what an import never reports is looked up.
    world.campaign.plant(email=world.email(1), lists={list_id: 2})
    world.campaign.plant(email=world.email(2), excluded=True)
    world.campaign.plant(email=world.email(3), bounced=True)
    run = world.run(world.list_export)
    counts = run["counts"]
    assert run["adds_up"]
    assert (counts["delivered"], counts["rejected"]) == (len(ENOUGH_FOR_IMPORTS) - 3, 3)
    # The reasons that look alike are given together; a busy account is not asked for any.
    assert counts.get("rejected:unsubscribed", 0) + counts.get("rejected:import_refused", 0) == 3
    held = world.contacts(list_id)
    assert held.keys() == {world.email(number) for number in ENOUGH_FOR_IMPORTS if number not in (1, 2, 3)}


def test_a_few_contacts_go_one_by_one_and_nobody_is_revived(world: World) -> None:
    list_id = world.put_list("customers")
    _fill(world, range(8))
    world.campaign.plant(email=world.email(1), lists={list_id: 2})
    imports = world.campaign.counters()["operations"].get("POST /api/3/import/bulk_import", 0)
    counts = world.run(world.list_export)["counts"]
    assert (counts["delivered"], counts["rejected:unsubscribed"]) == (7, 1)
    assert world.contacts(list_id).keys() == {world.email(number) for number in range(8) if number != 1}
    assert world.campaign.counters()["operations"].get("POST /api/3/import/bulk_import", 0) == imports


def test_bad_profiles_are_rejections_with_reasons(world: World) -> None:
    list_id = world.put_list("customers")
    world.post_shop(
        [
            world.shop_change(1),
            world.shop_change(2, identities={"crm_id": f"{world.name}-2"}),
            world.shop_change(3, identities={"crm_id": f"{world.name}-3", "email": "no address"}),
        ]
    )
    world.stored()
    counts = world.run(world.list_export)["counts"]
    assert (counts["rejected:no_email"], counts["rejected:malformed_email"], counts["delivered"]) == (1, 1, 1)
    assert world.contacts(list_id).keys() == {world.email(1)}


def test_two_profiles_with_one_address_are_one_contact(world: World) -> None:
    list_id = world.put_list("customers")
    shared = {"crm_id": f"{world.name}-2", "email": world.email(1).upper()}
    world.post_shop([world.shop_change(1), world.shop_change(2, identities=shared)])
    world.stored()
    run = world.run(world.list_export)
    # Whether the one who loses counts as delivered depends on who was looked at first: then both were sent in turn.
    assert run["adds_up"]
    assert run["counts"]["delivered"] + run["counts"].get("duplicate", 0) == 2
    assert world.contacts(list_id).keys() == {world.email(1)}
    again = world.run(world.list_export)["counts"]
    assert (again["unchanged"], again["duplicate"]) == (1, 1)


def test_faults_of_the_destination_are_outlived(world: World) -> None:
    list_id = world.put_list("customers")
    _fill(world, ENOUGH_FOR_IMPORTS)
    world.campaign.misbehave(
        {"match": BULK, "do": {"status": 429, "headers": {"Retry-After": "1"}}},
        {"match": BULK, "do": {"status": 500}},
        {"match": BULK, "do": {"drop": "before"}},
        {"match": BULK, "do": {"drop": "after"}},
        {"match": {"path": "/api/3/import/info"}, "do": {"status": 503}},
        {"match": {"path": "/api/3/import/info"}, "do": {"drop": "before"}},
    )
    run = world.run(world.list_export)
    assert run["adds_up"]
    assert run["counts"]["delivered"] == len(ENOUGH_FOR_IMPORTS)
    assert world.contacts(list_id) == {world.email(number): world.contact(number) for number in ENOUGH_FOR_IMPORTS}


def test_a_page_instead_of_an_answer_stops_the_connection_until_a_probe_passes(world: World) -> None:
    list_id = world.put_list("customers")
    _fill(world, ENOUGH_FOR_IMPORTS)
    world.campaign.misbehave({"match": BULK, "do": {"html": True}})
    run = world.run(world.list_export)
    assert run["state"] == "stopped"
    world.let_probe_be_due(world.list_connection)
    world.operator.tick()
    world.until("the run that makes up for the stop", lambda: len(world.contacts(list_id)) == len(ENOUGH_FOR_IMPORTS))


def test_a_bad_key_stops_the_connection_and_a_good_one_reopens_it(world: World) -> None:
    list_id = world.put_list("customers", api_key="revoked-key")
    _fill(world, range(12))
    run = world.run(world.list_export)
    assert run["state"] == "stopped"
    assert "key" in run["reason"]
    assert world.contacts(list_id) == {}
    stop = world.stop(world.list_connection)
    assert stop is not None
    assert stop["code"] == "not_authorised"
    refused = world.operator.start(world.list_export)
    assert refused["run"] is None

    # A probe that fails leaves it stopped. One with the mended key lets it go on, and a run makes up for the stop.
    world.let_probe_be_due(world.list_connection)
    world.operator.tick()
    assert world.stop(world.list_connection) is not None
    world.put_list_connection("sandbox-api-key")
    world.let_probe_be_due(world.list_connection)
    world.operator.tick()
    assert world.stop(world.list_connection) is None
    resync = world.operator.runs(world.list_export)[0]
    assert resync["cause"] == "resync"
    assert world.ended(resync["run"])["counts"]["delivered"] == 12
    assert len(world.contacts(list_id)) == 12
