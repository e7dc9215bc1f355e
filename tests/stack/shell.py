"""Commands as the pages write them, without the programs: our own clients send what `curl` and `aws` would send."""

import json
import re
import shlex
from typing import Any

import requests
from botocore import xform_name

from local.stack import LocalStack


def curl(command: str) -> requests.Response:
    """Do what a `curl` command with `-sS`, `-X`, `-H` and `-d` does; another option is an error."""
    program, *arguments = shlex.split(command)
    assert program == "curl"
    method, address, data = "GET", "", None
    headers: dict[str, str] = {}
    while arguments:
        option = arguments.pop(0)
        if option == "-X":
            method = arguments.pop(0)
        elif option == "-H":
            name, _, value = arguments.pop(0).partition(": ")
            headers[name] = value
        elif option == "-d":
            method, data = "POST", arguments.pop(0)
        elif option != "-sS":
            assert not option.startswith("-"), f"{option} is not known here"
            address = option
    return requests.request(method, address, headers=headers, data=data, timeout=30)


def aws(stack: LocalStack, command: str) -> dict[str, Any]:
    """Do what an `aws` command does: `aws SERVICE OPERATION --name value ...`, held to the service's own model.

    An operation or an option that the service does not have is an error, as it is to the program.
    """
    program, service, operation, *arguments = shlex.split(command)
    assert program == "aws"
    client = stack.client(service)
    (name,) = (name for name in client.meta.service_model.operation_names if xform_name(name, "-") == operation)
    members = client.meta.service_model.operation_model(name).input_shape.members
    options = {xform_name(member, "-"): member for member in members}
    given: dict[str, Any] = {}
    while arguments:
        option = arguments.pop(0).removeprefix("--")
        if option.removeprefix("no-") in options and (not arguments or arguments[0].startswith("--")):
            given[options[option.removeprefix("no-")]] = not option.startswith("no-")
            continue
        values = []
        while arguments and not arguments[0].startswith("--"):
            values.append(arguments.pop(0))
        shape = members[options[option]]
        given[options[option]] = _value(shape, values)
    answer: dict[str, Any] = getattr(client, xform_name(name))(**given)
    return answer


def _value(shape: Any, values: list[str]) -> Any:
    match shape.type_name:
        case "list":
            return [_value(shape.member, [value]) for value in values]
        case "structure" | "map" if values[0].startswith("{"):
            return json.loads(values[0])
        case "structure":
            return {key: value for pair in values[0].split(",") for key, value in [pair.split("=", 1)]}
        case "integer" | "long":
            return int(values[0])
        case _:
            (text,) = values
            return text


def commands(page: str, program: str) -> list[str]:
    """Return the commands of a program in the shell blocks of a page, each on one line."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    # A quoted text may go over several lines.
    found, rest = [], blocks
    while match := re.search(rf"^{program} ", rest, re.MULTILINE):
        rest = rest[match.start() :]
        end = _end_of(rest)
        found.append(rest[:end])
        rest = rest[end:]
    return found


def _end_of(text: str) -> int:
    quote = ""
    for place, letter in enumerate(text):
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        elif not quote and letter == "\n":
            return place
    return len(text)
