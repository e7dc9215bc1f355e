"""What both sandboxes share: the control API under `/_sandbox/`, counting of calls, and committing of faults.

The control API has no authentication and is no part of a vendor's API:

- `GET /_sandbox/state[?summary=true]` what the account holds (with `summary`, sizes only)
- `GET /_sandbox/counters` calls by operation and status, writes, injected faults, quota use and violations
- `GET|POST|DELETE /_sandbox/faults` the fault script (see `scripted_faults`)
- `POST /_sandbox/settings` changes settings of the running account, e.g. its key; unknown ones are refused
- `POST /_sandbox/reset` back to the account as it was configured at the start; faults and counters go too
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from flask import Flask, Response, g, request

from sandboxes.answers import InvalidControlError, body_object, html_answer, json_answer
from sandboxes.limits import Quota
from sandboxes.scripted_faults import DroppedConnectionError, Fault, FaultScript

CONTROL_PREFIX = "/_sandbox/"


class CallTally:
    """Counts of vendor-API calls; the control API's own calls are left out."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.pairs: dict[str, Counter[str]] = {}
        self.injected: Counter[str] = Counter()
        self.write_calls = 0
        self.writes = 0

    def count(self, operation: str, status: str, *, writing: bool, processed: bool) -> None:
        """Count one call; `writing` = it asks for a change, `processed` = it reached the account and succeeded."""
        self.operations[operation] += 1
        self.statuses[status] += 1
        self.pairs.setdefault(operation, Counter())[status] += 1
        self.write_calls += writing
        self.writes += writing and processed

    def report(self) -> dict[str, object]:
        """Return the counts as they appear on the counters page."""
        return {
            "calls": sum(self.operations.values()),
            "operations": dict(self.operations),
            "statuses": dict(self.statuses),
            "operation_statuses": {operation: dict(counts) for operation, counts in self.pairs.items()},
            "write_calls": self.write_calls,
            "writes": self.writes,
            "injected": dict(self.injected),
        }


class Sandbox(Protocol):
    """An account behind the control API."""

    lock: threading.RLock
    faults: FaultScript
    tally: CallTally
    sleep: Callable[[float], None]

    def state(self, *, summary: bool) -> dict[str, object]:
        """Return everything the account holds, or with `summary` only sizes."""
        ...

    def quotas(self) -> Mapping[str, Quota]:
        """Return the account's quotas by name."""
        ...

    def particular_counters(self) -> dict[str, object]:
        """Return counts only this kind of account has."""
        ...

    def change_settings(self, changes: Mapping[str, object]) -> None:
        """Change settings of the running account; raise `InvalidControlError` and change nothing on a bad one."""
        ...

    def reset(self) -> None:
        """Go back to the account as it was configured."""
        ...


def attach_control(app: Flask, sandbox: Sandbox, *, not_writing: frozenset[str] = frozenset()) -> None:
    """Give `app` the control API, fault injection, counting and one-request-at-a-time processing.

    `not_writing` names POST operations ("POST /path") that change nothing in the account.
    """
    app.extensions["sandbox"] = sandbox
    # A scripted lost connection must reach the server as it is instead of becoming a 500.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    _attach_request_hooks(app, sandbox, not_writing)
    _attach_control_routes(app, sandbox)


def _operation() -> str:
    rule = request.url_rule.rule if request.url_rule is not None else "(no such path)"
    return f"{request.method} {rule}"


def _attach_request_hooks(app: Flask, sandbox: Sandbox, not_writing: frozenset[str]) -> None:
    def count(status: str, *, processed: bool) -> None:
        operation = _operation()
        writing = request.method not in ("GET", "HEAD") and operation not in not_writing
        with sandbox.lock:
            sandbox.tally.count(operation, status, writing=writing, processed=processed)

    @app.before_request
    def commit_fault() -> Response | None:
        g.fault = None
        if not request.path.startswith(CONTROL_PREFIX):
            g.fault = fault = sandbox.faults.take(request.method, request.path, request.get_data())
            answer = _commit(sandbox, fault) if fault is not None else None
            if answer is not None:
                return answer
        # Taken after any delay, so that a slow request does not hold up the others.
        sandbox.lock.acquire()
        g.locked = True
        return None

    @app.after_request
    def count_call(answer: Response) -> Response:
        if request.path.startswith(CONTROL_PREFIX):
            return answer
        # A log-in page comes with 200 too, and nothing was done then.
        succeeded = answer.status_code < 300 and answer.mimetype != "text/html"
        fault: Fault | None = g.fault
        if fault is not None and fault.drop is not None:
            count("dropped", processed=succeeded and fault.drop == "after")
            raise DroppedConnectionError
        scripted = fault is not None and fault.status is not None
        count(str(answer.status_code), processed=succeeded and not scripted)
        return answer

    @app.teardown_request
    def let_go(_error: BaseException | None) -> None:
        if g.pop("locked", False):
            sandbox.lock.release()


def _commit(sandbox: Sandbox, fault: Fault) -> Response | None:
    """Do what comes before processing; an answer returned stands in for processing."""
    with sandbox.lock:
        sandbox.tally.injected[fault.kind()] += 1
    if fault.delay:
        sandbox.sleep(fault.delay)
    if fault.drop == "before":
        # Never sent: the connection is dropped once the call has been counted.
        return json_answer({})
    return _scripted_answer(fault)


def _scripted_answer(fault: Fault) -> Response | None:
    if fault.html:
        return html_answer(200, "Log in")
    if fault.status is None:
        return None
    if isinstance(fault.body, str):
        answer = Response(fault.body, status=fault.status)
        answer.headers.update(fault.headers)
        return answer
    return json_answer({} if fault.body is None else fault.body, fault.status, fault.headers)


def _attach_control_routes(app: Flask, sandbox: Sandbox) -> None:
    @app.get("/_sandbox/state")
    def state() -> Response:
        return json_answer(sandbox.state(summary=request.args.get("summary") == "true"))

    @app.get("/_sandbox/counters")
    def counters() -> Response:
        quotas = {name: quota.report() for name, quota in sandbox.quotas().items()}
        return json_answer(
            {
                **sandbox.tally.report(),
                "quotas": quotas,
                "limit_violations": sum(int(report["violations"]) for report in quotas.values()),
                **sandbox.particular_counters(),
            }
        )

    @app.get("/_sandbox/faults")
    def waiting_faults() -> Response:
        return json_answer({"waiting": sandbox.faults.waiting()})

    @app.post("/_sandbox/faults")
    def append_faults() -> Response:
        return json_answer({"waiting": sandbox.faults.append(request.get_json(force=True))})

    @app.delete("/_sandbox/faults")
    def clear_faults() -> Response:
        sandbox.faults.clear()
        return json_answer({"waiting": 0})

    @app.post("/_sandbox/settings")
    def settings() -> Response:
        changes = body_object()
        if changes is None:
            raise InvalidControlError("the settings to change must be a JSON object")
        sandbox.change_settings(changes)
        return json_answer({"changed": sorted(changes)})

    @app.post("/_sandbox/reset")
    def reset() -> Response:
        sandbox.reset()
        return json_answer({"reset": True})

    @app.errorhandler(InvalidControlError)
    def refuse_control(error: InvalidControlError) -> Response:
        return json_answer({"error": str(error)}, 400)
