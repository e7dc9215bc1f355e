"""Queues and who works on them: nothing is lost, swallowed or read in the clear."""

from tests.unit.template.expanding import Resources, is_dlq, may_send_to, of, refuses_plain_http, target

# Takes events that could not be delivered or were refused; no queue stands before it.
EVENTS_DLQ = "ExportDLQ"


def test_every_queue_has_a_dlq_that_takes_only_from_it(resources: Resources) -> None:
    queues = of(resources, "AWS::SQS::Queue")
    dlqs = {name for name in queues if is_dlq(name)}
    redrives = {name: target(queues[name]["RedrivePolicy"]["deadLetterTargetArn"]) for name in queues.keys() - dlqs}
    assert sorted([*redrives.values(), EVENTS_DLQ]) == sorted(dlqs)
    for name, dlq in redrives.items():
        allowed = queues[dlq]["RedriveAllowPolicy"]
        assert allowed["redrivePermission"] == "byQueue"
        (allowed_arn,) = allowed["sourceQueueArns"]
        # By name, because two references would make a circle.
        queue_name = queues[name]["QueueName"]["Fn::Sub"]
        assert allowed_arn["Fn::Sub"].endswith(f":{queue_name}")


def test_dlqs_keep_messages_14_days_and_longer_than_their_queues(resources: Resources) -> None:
    for name, queue in of(resources, "AWS::SQS::Queue").items():
        days = queue["MessageRetentionPeriod"] / 86_400
        assert days == 14 if is_dlq(name) else days <= 7, name


def test_visibility_is_at_least_6_times_the_consumers_timeout(resources: Resources) -> None:
    queues, functions = of(resources, "AWS::SQS::Queue"), of(resources, "AWS::Lambda::Function")
    consumed = set()
    for mapping in of(resources, "AWS::Lambda::EventSourceMapping").values():
        queue, function = target(mapping["EventSourceArn"]), target(mapping["FunctionName"])
        consumed.add(queue)
        assert queues[queue]["VisibilityTimeout"] >= 6 * functions[function]["Timeout"], queue
    assert consumed == {name for name in queues if not is_dlq(name)}


def test_every_queue_consumer_answers_with_what_failed(resources: Resources) -> None:
    for name, mapping in of(resources, "AWS::Lambda::EventSourceMapping").items():
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name


def test_every_queue_consumer_has_a_bounded_concurrency(resources: Resources) -> None:
    for name, mapping in of(resources, "AWS::Lambda::EventSourceMapping").items():
        assert 2 <= mapping["ScalingConfig"]["MaximumConcurrency"] <= 10, name


def test_no_queue_consumer_filters(resources: Resources) -> None:
    """What a filter does not match, it deletes for good."""
    for name, mapping in of(resources, "AWS::Lambda::EventSourceMapping").items():
        assert "FilterCriteria" not in mapping, name


def test_fifo_queues_never_swallow_a_look_and_scale_by_group(resources: Resources) -> None:
    fifo = {name: queue for name, queue in of(resources, "AWS::SQS::Queue").items() if queue.get("FifoQueue")}
    assert fifo
    for name, queue in fifo.items():
        assert not queue.get("ContentBasedDeduplication"), name
        if not is_dlq(name):
            assert queue["DeduplicationScope"] == "messageGroup", name
            assert queue["FifoThroughputLimit"] == "perMessageGroupId", name


def test_destination_queues_outlast_half_an_hour_of_transient_failures(resources: Resources) -> None:
    queues = of(resources, "AWS::SQS::Queue")
    for name in (name for name, queue in queues.items() if queue.get("FifoQueue") and not is_dlq(name)):
        assert queues[name]["RedrivePolicy"]["maxReceiveCount"] >= 30, name


def test_changes_and_checks_are_tried_for_hours_before_they_go_to_a_dead_letter_queue(
    resources: Resources,
) -> None:
    queues = of(resources, "AWS::SQS::Queue")
    for name in ("changesQueue", "checksQueue"):
        tries = queues[name]["RedrivePolicy"]["maxReceiveCount"]
        assert tries >= 10, name
        assert tries * queues[name]["VisibilityTimeout"] >= 2 * 3600, name


def test_queues_are_encrypted_and_take_only_tls(resources: Resources) -> None:
    queues = of(resources, "AWS::SQS::Queue")
    assert [name for name, queue in queues.items() if queue.get("SqsManagedSseEnabled") is not True] == []
    policies = of(resources, "AWS::SQS::QueuePolicy").values()
    assert sorted(target(queue) for policy in policies for queue in policy["Queues"]) == sorted(queues)
    assert all(refuses_plain_http(policy["PolicyDocument"]) for policy in policies)


def test_lambda_does_not_end_chains_of_messages_that_are_meant(resources: Resources) -> None:
    """By default Lambda ends a chain in which a function was invoked by its own messages some 16 times."""
    invokes: dict[str, set[str]] = {}
    for mapping in of(resources, "AWS::Lambda::EventSourceMapping").values():
        invokes.setdefault(target(mapping["EventSourceArn"]), set()).add(target(mapping["FunctionName"]))
    queues = of(resources, "AWS::SQS::Queue")
    invokes_from_fifo = {name for queue, names in invokes.items() if queues[queue].get("FifoQueue") for name in names}
    functions = of(resources, "AWS::Lambda::Function")
    sends = {name: may_send_to(resources, target(function["Role"])) for name, function in functions.items()}
    next_ones = {name: {one for queue in queues for one in invokes.get(queue, ())} for name, queues in sends.items()}
    goes_on = {name for queue, names in invokes.items() for name in names if name in next_ones[name]}
    goes_on |= {name for name, found in next_ones.items() if any(name in next_ones[one] for one in found)}
    assert goes_on >= {"ImportChecksFunction", *(name for name in functions if name in invokes_from_fifo)}
    # A defect sends the changes of single profiles on by themselves, once.
    allowed = {name for name, function in functions.items() if function.get("RecursiveLoop") == "Allow"}
    assert allowed == goes_on - {"RouteFunction"}
