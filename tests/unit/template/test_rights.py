"""The rights of each function on tables and secrets: all that it needs, and no more than that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from relay import names
from relay.destinations.contract import Finding, Quota
from relay.destinations.contract import Level as How
from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch, Forget, MembershipChange
from relay.domain.closed_sets import SetPage
from relay.domain.problems import UNCONFIRMED, Rejection, RejectionKind
from relay.domain.runs import RunState
from relay.queues import Message
from relay.stores import assignments, breakers, closed_sets, defects, runs
from relay.stores.database import Item, Key, Put, Table, Write
from relay.stores.defects import Defect
from relay.stores.dynamodb import _Way, _way
from relay.stores.forgettings import AT_MOST
from relay.workers.leftovers import KEPT
from relay.workers.operators.protocol import Level
from relay.workers.operators.questions import QUESTIONS
from tests.fakes.bench import CONNECTION, LAPSED, MINUTE, OTHER, OTHER_CONNECTION, TOOL, VIP, Bench, person
from tests.fakes.bench_destination import Lost
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.segment_files import NOON
from tests.fakes.segment_files import World as SegmentWorld
from tests.unit.template.expanding import Resources, allowed_to, listed, may_send_to, named, of, target
from tests.unit.template.test_destinations import WORDS

MAIN, OTHERS = f"{CONNECTION}/main", f"{OTHER_CONNECTION}/main"
HOUR = timedelta(hours=1)

Right = tuple[Table, str]


class RecordingDatabase(MemoryDatabase):
    """Notes which action of DynamoDB each access takes, by the function that is at work."""

    def __init__(self, **hooks: Any) -> None:
        super().__init__(**hooks)
        self.function = ""
        self.used: dict[str, set[Right]] = {}
        self.written: dict[str, set[str]] = {}
        """The partitions that each function wrote to."""

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        for key in keys:
            self._note(key.table, "BatchGetItem")
        return super().get(keys)

    def query(self, table: Table, pk: str, **options: Any) -> list[Item]:
        self._note(table, "Query")
        return super().query(table, pk, **options)

    def scan(self, table: Table, **options: Any) -> tuple[list[Item], str]:
        self._note(table, "Scan")
        return super().scan(table, **options)

    def write(self, writes: Sequence[Write]) -> list[bool]:
        for write in writes:
            self._note(write.key.table, _action(write))
            self.written.setdefault(self.function, set()).add(write.key.pk)
        return super().write(writes)

    def transact(self, writes: Sequence[Write]) -> bool:
        for write in writes:
            self._note(write.key.table, f"{type(write).__name__}Item")
        return super().transact(writes)

    def _note(self, table: Table, action: str) -> None:
        if self.function:
            self.used.setdefault(self.function, set()).add((table, action))


def _action(write: Write) -> str:
    """Return the action that one write takes, as policies name it.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html
    """
    match _way(write):
        case _Way.STATEMENTS:
            return {"Put": "PartiQLInsert", "Update": "PartiQLUpdate", "Delete": "PartiQLDelete"}[type(write).__name__]
        case _Way.REQUESTS:
            return "BatchWriteItem"
        case _:
            return f"{type(write).__name__}Item"


class Day(Bench):
    """A bench whose work is noted by function."""

    database: RecordingDatabase

    def __init__(self, *, imports: bool = False) -> None:
        super().__init__(imports=imports)
        self.tool.keeps_notes = True
        self.database = RecordingDatabase(before=self.step, after=self.step)
        self.restart()

    @contextmanager
    def by(self, function: str) -> Iterator[None]:
        before, self.database.function = self.database.function, function
        try:
            yield
        finally:
            self.database.function = before

    def consume(self, *messages: Message, **options: Any) -> list[str]:
        with self.by("consumer"):
            return super().consume(*messages, **options)

    def check(self, *messages: Message, **options: Any) -> list[str]:
        with self.by("import checks"):
            return super().check(*messages, **options)

    def tick(self, after: timedelta = timedelta()) -> None:
        with self.by("tick"):
            super().tick(after)

    def question(self, ask: str, level: Level = Level.OPERATE, **arguments: Any) -> dict[str, Any]:
        """Ask the function of a level; who may operate asks all that who may only look asks."""
        with self.by(level.function):
            sent = super().question(ask, level, **arguments)
        if level is Level.OPERATE and QUESTIONS[ask].level is Level.VIEW:
            assert self.question(ask, Level.VIEW, **arguments) == sent
        return sent

    def schedule(self, event: Mapping[str, Any]) -> dict[str, Any]:
        with self.by("export"):
            return self.stack.scheduled_starts().handle(event)

    def post(self, *given: Change, page: SetPage | None = None) -> None:
        body = changes.to_json(ChangeBatch("batch", "shop", list(given), page))
        with self.by("route"):
            self.stack.router().route(self.received([Message(body), Message({"no": "batch"})]))

    def change(self, *numbers: int, segment: str = VIP, name: str | None = None, realized: bool = True) -> Change:
        now = self.clock.now()
        ids = tuple(sorted(map(person, numbers)))
        email = {"email": f"{min(numbers)}@x.example", "name": str(now)}
        return Change(ids, now, attributes=email, memberships=[MembershipChange(segment, realized, now, name)])


def used() -> dict[str, set[Right]]:
    """Let everything happen that functions are there for; return what each did on the tables."""
    found: dict[str, set[Right]] = {}
    for imports in (False, True):
        day = Day(imports=imports)
        _a_rich_day(day)
        for function, rights in day.database.used.items():
            found.setdefault(function, set()).update(rights)
    found["import segment"] = _imports_of_segments()
    return found


def _imports_of_segments() -> set[Right]:
    """Import files, old and new ones, and a closed set; wait for a confirmation, and be superseded."""
    database = RecordingDatabase()
    world = SegmentWorld(database=database)
    for number in range(110):
        world.stream(number, realized=True, at=NOON - HOUR)
    database.function = "import segment"
    world.files.put(NOON, [1, (200, {"city": "Ulm"})])
    world.look()
    world.files.put(NOON + MINUTE, [*range(100), "broken"])
    world.look()
    world.files.put(NOON - HOUR / 2, [1])
    world.look()
    world.files.put(NOON, [7], "shop/new")
    world.look("shop/new")
    database.function = ""
    closed_sets.add_page(database, SetPage("shop/vip", "s", 1, 1), world.clock.now(), [person(1)])
    database.function = "import segment"
    world.follow_waits()
    return database.used["import segment"]


def _a_rich_day(day: Day) -> None:
    _changes_and_streams(day)
    _runs_of_schedules_and_operators(day)
    _questions_about_people(day)
    _trouble(day)
    _stops(day)
    _forgetting(day)
    _deleting(day)
    _retention(day)


def _retention(day: Day) -> None:
    """Whom nobody has named for two months is forgotten."""
    day.stack.environment = {**day.stack.environment, "RELAY_RETENTION_DAYS": "1"}
    day.stack.__dict__.pop("retention", None)
    day.store(77, inside=["shop/elsewhere"])
    day.tick(after=timedelta(days=60))


def _changes_and_streams(day: Day) -> None:
    for number in range(1, 9):
        day.post(day.change(number))
    day.tick(after=MINUTE)
    day.work_off()
    day.post(day.change(1, name="VIPs"), day.change(2, 10))
    day.post(day.change(3, realized=False), day.change(9, segment=LAPSED))
    day.post(day.change(9, segment=LAPSED), page=SetPage(LAPSED, "session", 1, 2))
    day.work_off()
    day.pass_time(10 * MINUTE)


def _runs_of_schedules_and_operators(day: Day) -> None:
    day.schedule({"exports": "default"})
    day.work_off()
    day.clock.time += MINUTE
    for number in (*range(1, 9), 10):
        day.leave(number)
    day.edit(options="8")
    day.clock.time += MINUTE
    run = day.ask("run", export=MAIN)["run"]
    day.work_off()
    assert day.run(run).state is RunState.NEEDS_CONFIRMATION
    # A run of a schedule takes its place.
    run = day.schedule({"export": MAIN})["run"]
    day.work_off()
    assert day.ask("confirm", run=run)["done"]
    day.work_off()
    assert day.run(run).state is RunState.FINISHED
    day.ask("plan", export=MAIN)
    day.ask("cancel", run=day.ask("run", export=OTHERS)["run"])
    day.schedule({"export": MAIN})
    day.schedule({"export": MAIN})
    day.work_off()
    _refused_runs(day)


def _questions_about_people(day: Day) -> None:
    day.ask("explain", profile="1@x.example")
    day.ask("explain", profile=person(1))
    day.ask("rejected", export=MAIN)
    day.ask("segments")
    day.ask("segment", segment=VIP)
    trace = day.ask("test", export=MAIN, profile=person(1))["trace"]
    day.work_off()
    assert len(day.ask("trace", trace=trace)["attempts"]) == 1


def _refused_runs(day: Day) -> None:
    """Let every function that starts runs meet a segment that nobody has ever seen."""
    starts: list[Callable[[], object]] = [
        partial(day.schedule, {"export": MAIN}),
        partial(day.ask, "run", export=MAIN),
        partial(day.tick, after=MINUTE),
    ]
    for number, start in enumerate(starts):
        day.edit(segments=(VIP, f"shop/never-{number}"))
        breakers.request_resync(day.database, CONNECTION, "main")
        start()
        [newest] = runs.latest(day.database, MAIN, 1)
        assert newest.state is RunState.REFUSED
    day.edit(segments=(VIP, LAPSED))
    day.pass_time(3 * MINUTE)


def _trouble(day: Day) -> None:
    _unconfirmed(day)
    _outstanding(day)
    _slow_import(day)
    day.full_run()
    # What only a check tells.
    now = day.clock.now()
    defects.note(day.database, MAIN, [Defect(person(14), "KeyError", ("a.py:1 b",), "code", now)])
    day.ask("check")
    day.ask("status")
    day.ask("attempts", queue="bench-changes")
    for destination in (TOOL, OTHER):
        assert day.consume(Message({"no": "task"}), destination=destination) == ["m0"]
    assert day.check(Message({"no": "task"})) == ["m0"]


def _unconfirmed(day: Day) -> None:
    """Let the destination refuse without a clear word, and be asked again after an hour."""
    day.tool.rejection = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "who knows", is_certain=False)
    day.tool.refuses = {"11@x.example", "12@x.example"}
    day.tool.undone = {"13@x.example"}
    for number in range(11, 14):
        day.post(day.change(number))
    day.work_off()
    day.tool.refuses, day.tool.undone = set(), set()
    day.tool.confirms = {"11@x.example": True}
    day.pass_time(HOUR + 2 * MINUTE)
    assert day.record("11@x.example", day.tool.calls_made[-1][0].target).refused is None


def _outstanding(day: Day) -> None:
    """Let an answer be lost, the values change, and a run wait for the end of the lost call."""
    day.post(day.change(14))
    day.tool.script = [Lost()]
    for message in day.queue.take():
        assert day.consume(message) == ["m0"]
    day.clock.time += 10 * MINUTE / 60
    day.post(day.change(14))
    day.queue.take()
    run = day.start()
    for _ in range(20):
        for message in day.queue.take():
            assert day.consume(message) == []
    assert day.counts(run)["outstanding"] >= 1
    day.pass_time(20 * MINUTE)
    assert day.run(run).state is RunState.FINISHED


def _slow_import(day: Day) -> None:
    """Look at an import that has not ended yet."""
    day.post(day.change(15))
    for message in day.queue.take():
        assert day.consume(message) == []
    for message in day.checks.take():
        assert day.check(message) == []
    day.work_off()


def _stops(day: Day) -> None:
    day.stop()
    day.stop("main")
    day.tool.findings = [Finding("connection", How.ERROR, "the plan is unpaid")]
    day.ask("check", connection=CONNECTION)
    # The bench's calls need no slots.
    with day.by("view"):
        day.stack.pace(CONNECTION, Quota("calls", 1000, timedelta(seconds=1)))
        day.stack.pace.hold(CONNECTION, Quota("calls", 1000, timedelta(seconds=1)), timedelta(seconds=2))
    day.ask("run", export=MAIN)
    day.schedule({"export": MAIN})
    day.tick(after=timedelta(hours=2))
    day.tool.findings = []
    day.ask("probe", connection=CONNECTION)
    day.tick(after=MINUTE)
    day.work_off()


def _forgetting(day: Day) -> None:
    """Forget a person whom a defect was met with, and one at the destination; and by the clock, after weeks."""
    for number in (30, 32, 34, 36):
        day.store(number, email=f"{number}@x.example")
    day.full_run()
    defects.note(day.database, MAIN, [Defect(person(30), "KeyError", (), "1", day.clock.now())] * 2)
    day.question("test", export=MAIN, profile=person(30))
    day.question("forget", Level.FORGET, profile=person(30))
    day.question("forget", Level.FORGET, profile=person(32), at_destinations=True)
    day.post(Change((person(34),), day.clock.now(), forget=Forget.HERE))
    day.work_off()
    day.edit(active=False)
    day.tick(after=MINUTE)
    day.question("forget", Level.FORGET, profile=person(36))
    day.clock.time += AT_MOST
    day.question("forget", Level.FORGET, profile=person(36))
    day.tick()
    day.edit(active=True)


def _deleting(day: Day) -> None:
    """Delete an export of whose assignments one cannot be read; what another one names stays."""
    day.store(20, email="shared@x.example")
    day.store(21, email="shared@x.example")
    day.full_run()
    day.database.write([Put(assignments.key_of(MAIN, person(21)), {"doc": "{", "version": 1})])
    day.settings.delete(MAIN)
    day.tick()
    day.tick(after=KEPT)
    assert not any(str(item["pk"]).startswith(MAIN) for item in day.database.items(Table.ASSIGNMENTS))


FUNCTIONS: Mapping[str, Sequence[str]] = {
    "route": ("RouteRole",),
    "consumer": tuple(f"{word}Role" for word in WORDS),
    "import checks": ("ImportChecksRole",),
    "import segment": ("ImportSegmentRole",),
    "tick": ("TickRole",),
    "view": ("ViewRole",),
    "admin": ("AdminRole",),
    "forget": ("ForgetRole",),
    "export": ("ExportRole",),
}


@pytest.fixture(scope="module")
def rights() -> dict[str, set[Right]]:
    return used()


def granted(resources: Resources, role: str) -> set[Right]:
    """Return what a role may do on tables."""
    found = set()
    for statement in allowed_to(resources, role):
        for action in listed(statement["Action"]):
            if action.startswith("dynamodb:"):
                for resource in listed(statement["Resource"]):
                    table = resource["Fn::Sub"].rpartition("${Prefix}-")[2]
                    found.add((Table(table), action.removeprefix("dynamodb:")))
    return found


@pytest.mark.parametrize(("function", "role"), [(name, role) for name, roles in FUNCTIONS.items() for role in roles])
def test_a_function_may_do_what_it_does(
    resources: Resources, rights: dict[str, set[Right]], function: str, role: str
) -> None:
    assert rights[function] - granted(resources, role) == set()
    assert granted(resources, role) - rights[function] == set()


def test_who_only_looks_writes_nothing_but_the_slots_of_its_calls(resources: Resources) -> None:
    """Given a day on which it was asked everything, Then it wrote to records of pace alone, and may to no others."""
    day = Day()
    _a_rich_day(day)
    assert day.database.written["view"] == {f"pace#{CONNECTION}"}
    writing = [
        statement
        for statement in allowed_to(resources, "ViewRole")
        for action in listed(statement["Action"])
        if action.startswith("dynamodb:") and action not in ("dynamodb:BatchGetItem", "dynamodb:Query")
    ]
    assert writing
    for statement in writing:
        assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "pace#*"}}


ALL_QUEUES = {f"{word}Queue" for word in WORDS}
SOURCES, CONNECTIONS, KEY = "${Prefix}/sources/*", "${Prefix}/connections/*", "${Prefix}/stack/identity-key-*"

SECRETS: Mapping[str, set[str]] = {
    "IngestRole": {SOURCES, KEY},
    "ImportSegmentRole": {SOURCES, KEY},
    "ExportRole": {CONNECTIONS, KEY},
    "ViewRole": {SOURCES, CONNECTIONS, KEY},
    "AdminRole": {SOURCES, CONNECTIONS, KEY},
    "ForgetRole": {SOURCES, CONNECTIONS, KEY},
    "TickRole": {CONNECTIONS, KEY},
    **{f"{word}Role": {CONNECTIONS, KEY} for word in WORDS},
    "ImportChecksRole": {CONNECTIONS, KEY},
}
"""Which secrets each role may read; all others may read none."""


def test_each_role_may_read_just_its_secrets(resources: Resources) -> None:
    read: dict[str, set[str]] = {}
    for role in of(resources, "AWS::IAM::Role"):
        for statement in allowed_to(resources, role):
            actions = [str(action) for action in listed(statement["Action"])]
            if any(action.startswith("secretsmanager:Get") for action in actions):
                assert actions == ["secretsmanager:GetSecretValue"], role
                arns = [one["Fn::Sub"] for one in listed(statement["Resource"])]
                read.setdefault(role, set()).update(arn.rpartition(":secret:")[2] for arn in arns)
    assert read == SECRETS


PATH, BELOW = "${Prefix}/exports", "${Prefix}/exports/*"

EXPORTS: Mapping[str, set[tuple[str, str]]] = {
    **{
        role: {(action, path) for action in ("GetParameter", "GetParametersByPath") for path in (PATH, BELOW)}
        for role in ("RouteRole", "ExportRole", "ViewRole", "AdminRole", "ForgetRole", "TickRole", "ImportSegmentRole")
    },
    **{role: {("GetParameter", BELOW)} for role in ("ImportChecksRole", *(f"{word}Role" for word in WORDS))},
}
"""How each role may read exports."""


def test_each_role_may_read_exports_as_it_needs_to(resources: Resources) -> None:
    read: dict[str, set[tuple[str, str]]] = {}
    for role in of(resources, "AWS::IAM::Role"):
        for statement in allowed_to(resources, role):
            for action in listed(statement["Action"]):
                if action.startswith("ssm:Get"):
                    paths = {one["Fn::Sub"].rpartition(":parameter/")[2] for one in listed(statement["Resource"])}
                    read.setdefault(role, set()).update((action.removeprefix("ssm:"), path) for path in paths)
    assert read == EXPORTS


def test_each_function_may_write_its_own_log(resources: Resources) -> None:
    for name, function in of(resources, "AWS::Lambda::Function").items():
        written = {
            (action, target(statement["Resource"]))
            for statement in allowed_to(resources, target(function["Role"]))
            for action in listed(statement["Action"])
            if action.startswith("logs:")
        }
        group = target(function["LoggingConfig"]["LogGroup"])
        assert written == {("logs:CreateLogStream", group), ("logs:PutLogEvents", group)}, name


QUEUES: Mapping[str, set[str]] = {
    "IngestRole": {"changesQueue"},
    "RouteRole": {"changesQueue", *ALL_QUEUES},
    "ExportRole": {"ExportDLQ", *ALL_QUEUES},
    "ViewRole": set(),
    "AdminRole": ALL_QUEUES,
    "ForgetRole": {"changesDLQ", *ALL_QUEUES},
    "TickRole": {"changesDLQ", "checksQueue", "segmentsQueue", *ALL_QUEUES},
    "ImportSegmentRole": set(),
    "ImportChecksRole": {"checksQueue", *ALL_QUEUES},
    **{f"{word}Role": {"checksQueue", f"{word}Queue"} for word in WORDS},
    "SchedulerRole": {"ExportDLQ"},
}
"""Which queues each role may send to."""


def test_each_role_may_send_to_just_its_queues(resources: Resources) -> None:
    assert {role: may_send_to(resources, role) for role in of(resources, "AWS::IAM::Role")} == QUEUES


SCHEDULES, DEFAULT = "${Prefix}/*", "default/${Prefix}-default"


@pytest.mark.parametrize("role", ["ExportRole", "ViewRole", "AdminRole", "TickRole"])
def test_who_looks_at_schedules_may_list_and_read_them(resources: Resources, role: str) -> None:
    given = {
        (action, resource if isinstance(resource, str) else resource["Fn::Sub"].rpartition(":schedule/")[2])
        for statement in allowed_to(resources, role)
        for action in listed(statement["Action"])
        if action.startswith("scheduler:")
        for resource in listed(statement["Resource"])
    }
    assert given == {
        ("scheduler:ListSchedules", "*"),
        ("scheduler:GetSchedule", SCHEDULES),
        ("scheduler:GetSchedule", DEFAULT),
    }


def test_only_who_answers_operators_may_list_names(resources: Resources) -> None:
    given = {
        (role, action)
        for role in of(resources, "AWS::IAM::Role")
        for statement in allowed_to(resources, role)
        for action in listed(statement["Action"])
        if action in ("secretsmanager:ListSecrets", "ssm:DescribeParameters")
    }
    actions = ("secretsmanager:ListSecrets", "ssm:DescribeParameters")
    assert given == {(role, action) for role in ("ViewRole", "AdminRole", "ForgetRole") for action in actions}


CONSUMING = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"}


def test_each_function_may_work_on_the_queue_that_invokes_it_and_on_no_other(resources: Resources) -> None:
    invoked: dict[str, set[str]] = {}
    for mapping in of(resources, "AWS::Lambda::EventSourceMapping").values():
        invoked.setdefault(target(mapping["FunctionName"]), set()).add(target(mapping["EventSourceArn"]))
    for name, function in of(resources, "AWS::Lambda::Function").items():
        given = {
            (action, target(resource))
            for statement in allowed_to(resources, target(function["Role"]))
            if statement.get("Sid") != "LookAtQueues"
            for action in listed(statement["Action"])
            if action in CONSUMING
            for resource in listed(statement["Resource"])
        }
        expected = {(action, queue) for action in CONSUMING for queue in invoked.get(name, ())}
        if name in ("ForgetFunction", "TickFunction"):
            # They look through what nobody works on.
            expected = {(action, "changesDLQ") for action in CONSUMING}
        assert given == expected, name


@pytest.mark.parametrize("role", ["ViewRole", "AdminRole"])
def test_who_answers_operators_may_look_at_every_queue_and_function_and_at_metrics(
    resources: Resources, role: str
) -> None:
    given: dict[str, set[str]] = {}
    for statement in allowed_to(resources, role):
        for action in listed(statement["Action"]):
            for resource in listed(statement.get("Resource", [])):
                given.setdefault(action, set()).add(_name_of(resources, resource))
    destinations = [*WORDS]
    assert given["sqs:GetQueueAttributes"] == set(names.queues("p", destinations))
    assert given["lambda:GetFunctionConfiguration"] == set(names.functions("p", destinations))
    assert given["cloudwatch:GetMetricData"] == {"*"}


def _name_of(resources: Resources, resource: Any) -> str:
    """Return what a resource of a statement is called, by its ARN or by the resource that it points to."""
    if isinstance(resource, dict) and "Fn::GetAtt" in resource:
        properties = resources[target(resource)]["Properties"]
        return named(properties.get("QueueName") or properties.get("FunctionName") or "")
    return named(resource).rpartition(":")[2]
