"""What all sandboxes share: the control API under `/_sandbox/`, counting of calls, and committing of faults.

The README beside this file describes the control API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request

from sandboxes.account import Account
from sandboxes.answers import InvalidControlError, body_object, html_answer, json_answer
from sandboxes.scripted_faults import DroppedConnectionError, Fault

CONTROL_PREFIX = "/_sandbox/"


def make_app(
    account: Account[Any], admit: Callable[[], Response | None], *, not_writing: frozenset[str] = frozenset()
) -> Flask:
    """Return an app over `account`, which is its `extensions["sandbox"]`; the vendor's calls are added to it.

    It has the control API, counts calls, commits faults, and processes one call at a time. `admit` is asked before each
    call of the vendor's API: where it answers, the call goes no further. `not_writing` names POST operations
    (`POST /path`) that change nothing in the account.
    """
    app = Flask("sandboxes")
    app.extensions["sandbox"] = account
    # A scripted lost connection must reach the server as it is instead of becoming a 500.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    _attach_request_hooks(app, account, not_writing)
    app.before_request(lambda: None if _is_control() else admit())
    _attach_control_routes(app, account)
    return app


def _is_control() -> bool:
    return request.path.startswith(CONTROL_PREFIX)


def _operation() -> str:
    rule = request.url_rule.rule if request.url_rule is not None else "(no such path)"
    return f"{request.method} {rule}"


def _attach_request_hooks(app: Flask, account: Account[Any], not_writing: frozenset[str]) -> None:
    def count(status: str, *, processed: bool) -> None:
        operation = _operation()
        writing = request.method not in ("GET", "HEAD") and operation not in not_writing
        with account.lock:
            account.tally.count(operation, status, writing=writing, processed=processed)

    @app.before_request
    def commit_fault() -> Response | None:
        g.fault = None
        if not _is_control():
            g.fault = fault = account.faults.take(request.method, request.path, request.get_data())
            answer = _commit(account, fault) if fault is not None else None
            if answer is not None:
                return answer
        # Taken after any delay, so that a slow request does not hold up the others.
        account.lock.acquire()
        g.locked = True
        return None

    @app.after_request
    def count_call(answer: Response) -> Response:
        if _is_control():
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
            account.lock.release()


def _commit(account: Account[Any], fault: Fault) -> Response | None:
    """Do what comes before processing; an answer returned stands in for processing."""
    with account.lock:
        account.tally.injected[fault.kind()] += 1
    if fault.delay:
        account.sleep(fault.delay)
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


def _attach_control_routes(app: Flask, account: Account[Any]) -> None:
    @app.get("/_sandbox/state")
    def state() -> Response:
        return json_answer(account.state(summary=request.args.get("summary") == "true"))

    @app.get("/_sandbox/counters")
    def counters() -> Response:
        quotas = {name: quota.report() for name, quota in account.quotas.items()}
        return json_answer(
            {
                **account.tally.report(),
                "quotas": quotas,
                "limit_violations": sum(int(report["violations"]) for report in quotas.values()),
                **account.counters(),
            }
        )

    @app.get("/_sandbox/faults")
    def waiting_faults() -> Response:
        return json_answer({"waiting": account.faults.waiting()})

    @app.post("/_sandbox/faults")
    def append_faults() -> Response:
        return json_answer({"waiting": account.faults.append(request.get_json(force=True))})

    @app.delete("/_sandbox/faults")
    def clear_faults() -> Response:
        account.faults.clear()
        return json_answer({"waiting": 0})

    @app.post("/_sandbox/settings")
    def settings() -> Response:
        changes = body_object()
        if changes is None:
            raise InvalidControlError("the settings to change must be a JSON object")
        account.change(changes)
        return json_answer({"changed": sorted(changes)})

    @app.post("/_sandbox/reset")
    def reset() -> Response:
        account.reset()
        return json_answer({"reset": True})

    @app.errorhandler(InvalidControlError)
    def refuse_control(error: InvalidControlError) -> Response:
        return json_answer({"error": str(error)}, 400)
