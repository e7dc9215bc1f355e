"""Sources, connections and exports as administrators wrote them, validated.

    source      secret     {prefix}/sources/{source}                      flat JSON texts
    connection  secret     {prefix}/connections/{connection}              flat JSON texts
    export      parameter  /{prefix}/exports/{connection}/{export}        JSON
    identity    secret     {prefix}/stack/identity-key                    plain text, made with the stack

Everything is read again after some seconds, what was not there included. What is invalid raises (or is listed as) a
SettingsProblem with its field and the reason, and harms nothing else. No text here repeats a value of a secret.

`sources` is all that ingest needs, `exports` all that route needs; both are quick to import. `settings` is for whoever
works with connections, and imports the destinations' models.
"""
