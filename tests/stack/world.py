"""One test's own corner of the shared stack: a source, connections and exports of its own names."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from local.processes import wait_for
from local.roles import Administrator, Operator, Platform, SandboxControl, new_secret, new_signing_key
from local.stack import LocalStack
from relay.names import table_name
from relay.stores.database import Table

LOOK_EVERY = 0.3
NOW = datetime.now(UTC).replace(microsecond=0)

MAPPING = {
    "email": "identities.email",
    "first_name": "attributes.first_name",
    "last_name": "attributes.last_name",
    "phone": "attributes.phone",
    "fields.1": "attributes.tier",
}


def text_of(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def bucket_of(stack: LocalStack) -> str:
    """Return the name of the stack's bucket."""
    account = stack.client("sts").get_caller_identity()["Account"]
    return f"{stack.prefix}-{account}-{stack.region}"


@dataclass
class World:
    stack: LocalStack
    name: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self.administrator = Administrator(self.stack)
        self.operator = Operator(self.stack)
        self.px = SandboxControl(self.stack.sandboxes["gainsight_px"]["url"])
        self.campaign = SandboxControl(self.stack.sandboxes["activecampaign"]["url"])
        self.adobe = Platform(self.stack, f"{self.name}-aep", new_secret())
        self.shop = Platform(self.stack, f"{self.name}-shop", new_signing_key())
        self.px_export = f"{self.name}-px/product"
        self.list_export = f"{self.name}-ac/list"

    @property
    def px_connection(self) -> str:
        return self.px_export.split("/")[0]

    @property
    def list_connection(self) -> str:
        return self.list_export.split("/")[0]

    # Settings.

    def put_adobe(self) -> None:
        self.administrator.put_source(
            self.adobe.source,
            dialect="adobe-http",
            auth="bearer",
            secret=self.adobe.secret,
            profile_key="identityMap.ECID",
        )

    def put_shop(self) -> None:
        self.administrator.put_source(
            self.shop.source,
            dialect="relay-json",
            auth="standard-webhooks",
            secret=self.shop.secret,
            profile_key="identities.crm_id",
        )

    def put_px(self, *segments: str) -> None:
        self.put_adobe()
        self.administrator.put_connection(
            self.px_connection,
            "gainsight_px",
            region="eu",
            username="sandbox@example.com",
            password="sandbox-password",
            client_id="sandbox-subscription",
            client_secret="sandbox-client-secret",
            token_url=f"{self.px.url}/oauth/token",
        )
        self.administrator.put_export(
            self.px_export,
            segments=[f"{self.adobe.source}/{segment}" for segment in segments],
            mapping={"IDENTIFY_ID": "identities.crmId"},
        )
        self.administrator.wait_until_seen()

    def put_list_connection(self, api_key: str) -> None:
        self.administrator.put_connection(
            self.list_connection, "activecampaign", api_host="sandbox.api-us1.com", api_key=api_key
        )

    def put_list(self, *segments: str, api_key: str = "sandbox-api-key", **options: str) -> str:
        """Make a list at ActiveCampaign and an export to it; return the list's id."""
        lists = self.campaign.state()["lists"]
        list_id = str(max(map(int, lists)) + 1)
        self.campaign.change(lists={**lists, list_id: self.name}, fields={"1": "text"})
        self.put_shop()
        self.put_list_connection(api_key)
        self.administrator.put_export(
            self.list_export,
            segments=[f"{self.shop.source}/{segment}" for segment in segments],
            mapping=MAPPING,
            options={"list_id": list_id, **options},
        )
        self.administrator.wait_until_seen()
        return list_id

    # What platforms send.

    def adobe_profile(self, number: int, at: datetime = NOW, **statuses: str) -> dict[str, Any]:
        return {
            "person": {"name": {"firstName": f"First{number}"}},
            "segmentMembership": {
                "ups": {
                    segment: {"lastQualificationTime": text_of(at), "status": status}
                    for segment, status in statuses.items()
                }
            },
            "identityMap": {
                "ECID": [{"id": f"{self.name}-e{number}", "primary": True}],
                "crmId": [{"id": self.customer_id(number)}],
            },
        }

    def customer_id(self, number: int) -> str:
        return f"{self.name}-C{number}"

    def email(self, number: int) -> str:
        return f"{self.name}-{number}@shop.example"

    def shop_change(
        self, number: int, *, status: str = "realized", segment: str = "customers", **more: Any
    ) -> dict[str, Any]:
        change = {
            "identities": {"crm_id": f"{self.name}-{number}", "email": self.email(number)},
            "attributes": {
                "first_name": f"First{number}",
                "last_name": f"Last{number}",
                "phone": f"+32 470 {number:06}",
                "tier": "gold",
            },
            "memberships": [{"segment": segment, "status": status, "at": text_of(NOW)}],
        }
        return {**change, **more}

    def contact(self, number: int) -> tuple[str, str, str, str]:
        return f"First{number}", f"Last{number}", f"+32 470 {number:06}", "gold"

    def post_adobe(self, *profiles: Mapping[str, Any]) -> None:
        assert self.adobe.post({"profiles": profiles}).status_code == 202

    def post_shop(self, changes: Sequence[Mapping[str, Any]]) -> None:
        assert self.shop.post({"changes": changes}).status_code == 202

    # What the destinations hold.

    def px_members(self) -> dict[str, set[str]]:
        prefix = f"{self.adobe.source}/"
        return {
            segment["externalId"].removeprefix(prefix): set(segment["members"])
            for segment in self.px.state()["segments"]
            if segment["externalId"].startswith(prefix)
        }

    def contacts(self, list_id: str) -> dict[str, tuple[str, str, str, str | None]]:
        return {
            one["email"]: (one["firstName"], one["lastName"], one["phone"], one["fields"].get("1"))
            for one in self.campaign.state()["contacts"]
            if one["lists"].get(list_id, {}).get("status") == 1
        }

    # Waiting.

    def drained(self, *queues: str) -> None:
        def empty() -> bool | None:
            return None if any(self.operator.waiting(queue) for queue in queues) else True

        wait_for(f"empty {', '.join(queues)}", 90, empty, every=0.1)

    def until(self, what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
        wait_for(what, seconds, lambda: holds() or None, every=LOOK_EVERY)

    def stored(self) -> None:
        self.drained("changesQueue")

    def activated(self) -> None:
        """Have the streaming export started, and its first run over."""
        self.stored()
        self.administrator.wait_until_runs_start()
        self.operator.tick()
        self.until("the first run", lambda: self._over(self.px_export))

    def _over(self, key: str) -> bool:
        states = [run["state"] for run in self.operator.runs(key)]
        return bool(states) and "running" not in states

    def run(self, key: str) -> dict[str, Any]:
        """Run an export on demand, to its end; return the run record."""
        return self.ended(self.start(key)["run"])

    def start(self, key: str) -> dict[str, Any]:
        """Start a run on demand; return the answer."""
        self.administrator.wait_until_runs_start()
        started = self.operator.start(key)
        assert started["run"] is not None, started
        return started

    def ended(self, run: str, seconds: float = 120) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            given = self.operator.show(run)
            return given if given["state"] != "running" else None

        return wait_for(f"the end of run {run}", seconds, look, every=LOOK_EVERY)

    # What an emulator lets a test do to a stack.

    def stop(self, connection: str) -> dict[str, Any] | None:
        """Return the connection's breaker as it is stored, None while nothing is stopped."""
        item = self._control().get_item(**self._breaker(connection)).get("Item")
        breaker: dict[str, Any] = {} if item is None else {k: next(iter(v.values())) for k, v in item.items()}
        return breaker if breaker.get("code") else None

    def let_probe_be_due(self, connection: str) -> None:
        """Let the minutes between two probes of a stopped connection pass."""
        self._control().update_item(
            **self._breaker(connection),
            UpdateExpression="SET probe_at = :then",
            ExpressionAttributeValues={":then": {"S": text_of(datetime.now(UTC) - timedelta(minutes=10))}},
        )

    @contextmanager
    def idle(self, function: str) -> Iterator[None]:
        """Keep a function (an output's name without `FunctionName`) from its queue, so that a test sees what waits."""
        client, name = self.stack.client("lambda"), self.stack.outputs[f"{function}FunctionName"]
        (source,) = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        client.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=source["UUID"], Enabled=True)

    def peek(self, queue: str) -> list[str]:
        """Return the bodies and group ids of the messages that wait in a queue, and leave them there."""
        client, url = self.stack.client("sqs"), self.stack.outputs[f"{queue}Url"]
        answer = client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, AttributeNames=["All"]
        )
        return [
            message["Body"] + json.dumps(message["Attributes"].get("MessageGroupId"))
            for message in answer.get("Messages", [])
        ]

    def _control(self) -> Any:
        return self.stack.client("dynamodb")

    def _breaker(self, connection: str) -> dict[str, Any]:
        key = {"pk": {"S": f"breakers#{connection}"}, "sk": {"S": "connection"}}
        return {"TableName": table_name(self.stack.prefix, Table.CONTROL), "Key": key}
