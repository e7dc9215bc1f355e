"""What the parts of a stack are called. Every name begins with the stack's prefix and follows from it alone.

So functions find tables, queues and schedules without being told one by one. `template.yaml` gives the same names.
"""

from collections.abc import Iterable


def word_of(destination: str) -> str:
    """Return a destination's word: its name without underscores, since logical ids of CloudFormation have none.

    It stands in the names of all that exists once for each destination, and is its own word.
    """
    return destination.replace("_", "")


def table_name(prefix: str, table: str) -> str:
    """Return the name of a table."""
    return f"{prefix}-{table}"


def destination_queue(prefix: str, destination: str) -> str:
    """Return the name of a destination's queue, by the destination's name or word."""
    return f"{prefix}-{word_of(destination)}.fifo"


def changes_dlq(prefix: str) -> str:
    """Return the name of the dead-letter queue of changes."""
    return f"{prefix}-changes-dlq"


def checks_queue(prefix: str) -> str:
    """Return the name of the Checks queue."""
    return f"{prefix}-checks"


def segments_queue(prefix: str) -> str:
    """Return the name of the queue of segment files."""
    return f"{prefix}-segments"


def metrics_namespace(prefix: str) -> str:
    """Return the CloudWatch namespace of the stack's metrics, so that two stacks of an account do not add theirs up."""
    return prefix


def schedule_group(prefix: str) -> str:
    """Return the name of the group that holds exports' own schedules."""
    return prefix


def default_schedule(prefix: str) -> str:
    """Return the name of the schedule of all exports without one of their own."""
    return f"{prefix}-default"


def export_function(prefix: str) -> str:
    """Return the name of the function that schedules start."""
    return f"{prefix}-export"


def dead_letter_queue(queue: str) -> str:
    """Return the name of a queue's dead-letter queue."""
    name, fifo, _ = queue.partition(".fifo")
    return f"{name}-dlq{fifo}"


def is_dlq(queue: str) -> bool:
    """Return whether a queue is a dead-letter queue, by its name."""
    return queue.removesuffix(".fifo").endswith("-dlq")


def changes_queue(prefix: str) -> str:
    """Return the name of the Changes queue."""
    return f"{prefix}-changes"


def queues(prefix: str, destinations: Iterable[str]) -> list[str]:
    """Return the names of all queues, each followed by its dead-letter queue, and that of schedules' events."""
    shared = [changes_queue(prefix), checks_queue(prefix), segments_queue(prefix)]
    working = [*shared, *(destination_queue(prefix, name) for name in destinations)]
    return [name for queue in working for name in (queue, dead_letter_queue(queue))] + [f"{prefix}-export-dlq"]


def library(prefix: str) -> str:
    """Return the name of the layer that every function has."""
    return f"{prefix}-relay"


def functions(prefix: str, destinations: Iterable[str]) -> list[str]:
    """Return the names of all functions."""
    shared = ("ingest", "route", "export", "view", "admin", "forget", "tick", "importchecks", "importsegment")
    return [f"{prefix}-{word}" for word in (*shared, *map(word_of, destinations))]
