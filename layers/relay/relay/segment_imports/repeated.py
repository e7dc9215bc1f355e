"""Rows of one person: the later one counts. Pure."""

from collections.abc import Sequence

from relay.files.rows import Row
from relay.segment_imports.files import Member


def without_overruled(members: Sequence[tuple[Row, Member]]) -> Sequence[tuple[Row, Member]]:
    """Leave out of rows what a later one says otherwise of the same person, who is told by the same ids.

    So no row is compared with what is stored for a value that another row takes back.
    """
    if len({member.profile_ids for _, member in members}) == len(members):
        return members
    later: dict[tuple[str, ...], Member] = {}
    found: list[tuple[Row, Member]] = []
    for row, member in reversed(members):
        known = later.get(member.profile_ids)
        if known is None:
            later[member.profile_ids] = member
        else:
            later[member.profile_ids] = known._replace(
                identities={**member.identities, **known.identities},
                attributes={**member.attributes, **known.attributes},
            )
            member = member._replace(
                identities={name: ids for name, ids in member.identities.items() if name not in known.identities},
                attributes={name: one for name, one in member.attributes.items() if name not in known.attributes},
            )
        found.append((row, member))
    found.reverse()
    return found
