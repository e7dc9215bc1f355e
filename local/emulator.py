"""Starts the AWS emulator, run by the emulator's own Python, with what it gets wrong about permissions set right."""

from collections.abc import Callable
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


def _as_if_by_tls(value_of: Callable[..., Any]) -> Callable[..., Any]:
    """Take requests as safely transported, as those to AWS are: here they come over http, but never leave the machine.

    Without it, the policies that refuse plain http (template.yaml) would refuse everybody.
    """

    def fixed(key: str, *context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else value_of(key, *context)

    return fixed


if __name__ == "__main__":
    iam_evaluator._resolve_condition_key = _as_if_by_tls(iam_evaluator._resolve_condition_key)  # noqa: SLF001
    # Before anything else of the emulator is imported, because it takes the function over by name.
    iam_actions.extract_resource_arn = _with_parameter_paths(iam_actions.extract_resource_arn)
    from ministack.app import main  # type: ignore[import-not-found]

    main()
