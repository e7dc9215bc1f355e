"""Starts the AWS emulator, run by the emulator's own Python, with what stands between it and our policies set right."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ministack.core import iam_actions, iam_evaluator  # type: ignore[import-not-found]


def _with_parameter_paths(resource_of: Callable[..., str]) -> Callable[..., str]:
    """Name the resource of GetParametersByPath, which the emulator leaves at `*`, so that only `*` would allow it.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
    """

    def fixed(service: str, *request: Any) -> str:
        resource = resource_of(service, *request)
        *_, body, query, region, account = request
        if service == "ssm" and resource == "*" and (path := iam_actions._param(body, query, "Path")):  # noqa: SLF001
            return f"arn:aws:ssm:{region}:{account}:parameter/{path.strip('/')}"
        return resource

    return fixed


def _with_schedule_groups(resource_of: Callable[..., str]) -> Callable[..., str]:
    """Name the group of a schedule, which the emulator takes to be in the group `default` whatever was asked for.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridgescheduler.html
    """

    def fixed(service: str, *request: Any) -> str:
        resource = resource_of(service, *request)
        *_, body, query, _region, _account = request
        named = ("groupName", "GroupName")  # in the address, or in the body
        group = iam_actions._param(body, query, *named) if service == "scheduler" else None  # noqa: SLF001
        return resource.replace(":schedule/default/", f":schedule/{group}/") if group else resource

    return fixed


_SINGLE = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}


def _with_batches_as_singles(action_of: Callable[..., str | None]) -> Callable[..., str | None]:
    """Ask for the right to send when many are sent at once: a right to send batches does not exist.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
    """

    def fixed(*request: Any) -> str | None:
        action = action_of(*request)
        return None if action is None else _SINGLE.get(action, action)

    return fixed


_STATEMENT = re.compile(r'(?:(INSERT) INTO|(UPDATE)|(DELETE) FROM) "([^"]+)"')


def _with_statements(checks_of: Callable[..., list[tuple[str, str]]]) -> Callable[..., list[tuple[str, str]]]:
    """Ask for the rights that the statements of a batch take: a right to execute statements does not exist.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html
    """

    def fixed(action: str, body: bytes, region: str, account: str) -> list[tuple[str, str]]:
        if action != "dynamodb:BatchExecuteStatement":
            return checks_of(action, body, region, account)
        checks = []
        for one in json.loads(body)["Statements"]:
            found = _STATEMENT.match(one["Statement"])
            *verbs, table = ("",) if found is None else found.groups()
            verb = next(filter(None, verbs), "Select").capitalize()
            checks.append((f"dynamodb:PartiQL{verb}", f"arn:aws:dynamodb:{region}:{account}:table/{table}"))
        return checks

    return fixed


_TAG = re.compile(r"\$\{aws:PrincipalTag/([^}]+)\}", re.IGNORECASE)


def _with_principal_tags(first_match: Callable[..., Any]) -> Callable[..., Any]:
    """Fill the tags of who asks into the resources of statements; without its tag a resource names nothing.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """

    def fixed(context: Any, statements: list[Any], effect: str) -> Any:
        def filled(resource: str) -> str | None:
            tags = [context.principal_keys.get(f"aws:principaltag/{name.lower()}") for name in _TAG.findall(resource)]
            # Of a tag's value no letter is a wildcard.
            if any(not tag or "*" in tag or "?" in tag for tag in tags):
                return None
            return _TAG.sub(lambda _: tags.pop(0), resource)

        def with_tags(statement: Any) -> Any:
            if not any(map(_TAG.search, statement.resources)):
                return statement
            resources = [one for resource in statement.resources if (one := filled(resource)) is not None]
            return replace(statement, resources=resources or ["arn:nothing"])

        return first_match(context, [with_tags(statement) for statement in statements], effect)

    return fixed


def _as_if_by_tls(pin: Callable[[str, bool], None]) -> Callable[[str, bool], None]:
    """Count requests on the loopback device as come by TLS, without which our queues and the bucket take nothing."""
    return lambda source, _by_tls: pin(source, True)


if __name__ == "__main__":
    # Before anything else of the emulator is imported, because it takes these functions over by name.
    iam_actions.extract_resource_arn = _with_parameter_paths(iam_actions.extract_resource_arn)
    iam_actions.extract_resource_arn = _with_schedule_groups(iam_actions.extract_resource_arn)
    iam_actions.extract_iam_action = _with_batches_as_singles(iam_actions.extract_iam_action)
    iam_actions.dynamodb_transaction_checks = _with_statements(iam_actions.dynamodb_transaction_checks)
    iam_evaluator._first_match = _with_principal_tags(iam_evaluator._first_match)  # noqa: SLF001
    iam_evaluator.pin_request_origin = _as_if_by_tls(iam_evaluator.pin_request_origin)
    from ministack.app import main  # type: ignore[import-not-found]

    main()
