"""What a deployed stack says of itself."""

from tests.unit.template.expanding import Resources, Source, is_dlq, of

# What is no name of a function and no address of a queue.
OTHERS = {
    "Version": "0.1.0",
    "Prefix": {"Ref": "Prefix"},
    "BucketName": {"Fn::Sub": "${Prefix}-${AWS::AccountId}-${AWS::Region}"},
    "ApiId": {"Ref": "WebhookApi"},
    "StageName": {"Ref": "WebhookApi.Stage"},
    "ExportFunctionArn": {"Fn::GetAtt": ["ExportFunction", "Arn"]},
    "SchedulerRoleArn": {"Fn::GetAtt": ["SchedulerRole", "Arn"]},
    "ScheduleGroupName": {"Ref": "ScheduleGroup"},
    "AlarmTopicArn": {"Ref": "AlarmTopic"},
    **{f"{who}PolicyArn": {"Ref": f"{who}Policy"} for who in ("Viewer", "Operator", "Contributor", "Administrator")},
}


def test_outputs_name_every_function_and_every_queue(source: Source, resources: Resources) -> None:
    functions = {f"{name}Name": {"Ref": name} for name in of(resources, "AWS::Lambda::Function")}
    queues = {f"{name}Url": {"Ref": name} for name in of(resources, "AWS::SQS::Queue")}
    assert any(map(is_dlq, of(resources, "AWS::SQS::Queue")))
    outputs = {name: output["Value"] for name, output in source["Outputs"].items()}
    url = outputs.pop("WebhookUrl")
    assert url["Fn::Sub"].startswith("https://${WebhookApi}.execute-api.")
    assert outputs == functions | queues | OTHERS
