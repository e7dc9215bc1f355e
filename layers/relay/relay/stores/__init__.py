"""The door to DynamoDB: one small database interface, and one module per kind of record kept in it."""
