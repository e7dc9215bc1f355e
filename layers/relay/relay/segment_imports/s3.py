"""Segment files in the stack's bucket, and the place there for the ids that an import has seen."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from types import MappingProxyType
from typing import Any, BinaryIO, Final, Protocol, cast

from botocore.exceptions import BotoCoreError, ClientError

from relay.clock import Clock
from relay.domain.expressions import compiled
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Busy
from relay.domain.segment_imports import FilePart, RowFault
from relay.files.layout import PATIENCE, Listed, layout_of
from relay.files.members import Members
from relay.files.reader import read_rows
from relay.files.rows import BrokenRow, Part, Replaced, Row, Unreadable
from relay.segment_imports.files import FileSet, Member
from relay.settings.names import UnknownSource
from relay.sources.profile_key import keys_of

FILES: Final = "segments/"
PRESENT: Final = "present/"

NO_SOURCE: Final = "there is no source of this name; make it, and write the files again"
OTHERS_ALONE: Final = "the source keeps other segments alone (segments)"

FORBIDDEN: Final[Mapping[str, str]] = {
    "AccessDenied": "S3 does not let the stack read it: see who owns it, and the policy of its KMS key",
    "InvalidObjectState": "it is archived: write it again in another storage class",
    "InvalidRequest": "it is encrypted with a key that the stack does not have (SSE-C)",
}
"""Why an object can never be read, by the code of S3.
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""

MAX_SMALL: Final = 5_000_000
"""The most bytes of a manifest that are read."""


class Client(Protocol):
    """What is used of boto3's S3 client."""

    def list_objects_v2(self, **request: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html."""
        ...

    def get_object(self, **request: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html."""
        ...

    def put_object(self, **request: Any) -> Any:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html."""
        ...

    def delete_object(self, **request: Any) -> Any:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html."""
        ...


class Source(Protocol):
    """What must be known of a source to read its files."""

    @property
    def name(self) -> str:
        """Begins the segment references."""
        ...

    @property
    def profile_key(self) -> str:
        """A valid expression."""
        ...

    @property
    def segments(self) -> AbstractSet[str] | None:
        """The only segments (`source/segment`) whose members are kept; None for all."""
        ...

    @property
    def file_identities(self) -> Mapping[str, str] | None:
        """Namespaces of identities by columns; None takes those that `profile_key` looks up."""
        ...

    @property
    def file_status(self) -> str | None:
        """The column of the status, None where it has one of the usual names."""
        ...

    @property
    def allow_empty(self) -> bool:
        """Whether a file without members empties its segment."""
        ...


def segment_of(key: str) -> str | None:
    """Return the segment `source/segment` in whose folder an object lies, None for one that lies in none."""
    parts = key.removeprefix(FILES).split("/", 2)
    is_in_folder = key.startswith(FILES) and len(parts) == 3 and all(parts[:2])
    return f"{parts[0]}/{parts[1]}" if is_in_folder else None


class S3Files:
    """`Files` in a bucket. `source_of` raises SettingsProblem or Transient."""

    def __init__(
        self,
        bucket: str,
        client: Callable[[], Client],
        source_of: Callable[[str], Source],
        keyed: Callable[[], KeyedHash],
        clock: Clock,
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._source_of = source_of
        self._keyed = keyed
        self._clock = clock
        self._readers: dict[str, tuple[Source, Members]] = {}

    def sets(self, segment: str) -> Sequence[FileSet]:
        """See `Files`."""
        found = {str(one["Key"]): one for one in _listed(self._client(), self._bucket, f"{FILES}{segment}/")}
        objects = [Listed(key, int(one["Size"]), one["LastModified"]) for key, one in found.items()]
        if not objects:
            return []
        passed_over = self._passed_over(segment, max(one.modified for one in objects))
        layout = layout_of(objects, now=self._clock.now(), read=self._small)
        sets = [] if layout.next_at is None else [FileSet(layout.next_at, (), layout.next_at)]
        for one in layout.sets:
            parts = [FilePart(each.key, each.size, str(found[each.key]["ETag"]), one.columns) for each in one.objects]
            sets.append(FileSet(one.at, tuple(parts), refused=passed_over or one.problem, written=one.written))
        return sets

    def _passed_over(self, segment: str, written: datetime) -> str | None:
        """Return why no file of a segment counts; raises UnknownSource while its source may be about to be created."""
        try:
            allowed = self._source_of(segment.partition("/")[0]).segments
        except UnknownSource:
            if written + PATIENCE > self._clock.now():
                raise
            return NO_SOURCE
        return None if allowed is None or segment in allowed else OTHERS_ALONE

    def rows(
        self, segment: str, parts: Sequence[FilePart], watch: Callable[[], None] | None = None
    ) -> Iterator[Row | RowFault]:
        """See `Files`; an object that was replaced or deleted since the import began is Unreadable."""
        _, members = self._reader(segment)
        columns = parts[0].columns if parts else None
        given = [Part(one.key.removeprefix(f"{FILES}{segment}/"), self._opener(one)) for one in parts]
        for row in read_rows(given, require=members.require, columns=columns, watch=watch):
            yield RowFault(row.part, row.line, row.reason) if isinstance(row, BrokenRow) else row

    def members(self, segment: str) -> Callable[[Row], Member]:
        """See `Files`."""
        source, members = self._reader(segment)
        keyed, expression, name = self._keyed(), compiled(source.profile_key), source.name

        def member(row: Row) -> Member:
            read = members.change_of(row)
            if isinstance(read, BrokenRow):
                raise ValueError(read.reason)
            ids = {keyed(name, key) for key in keys_of(read, expression)}
            return Member(tuple(sorted(ids)), read.identities, read.attributes, read.memberships[0].realized)

        return member

    def allows_empty(self, segment: str) -> bool:
        """See `Files`."""
        source, _ = self._reader(segment)
        return source.allow_empty

    def _reader(self, segment: str) -> tuple[Source, Members]:
        source = self._source_of(segment.partition("/")[0])
        known = self._readers.get(segment)
        if known is None or known[0] is not source:
            # The time of a set is the import's matter.
            members = Members(
                segment=segment,
                at=datetime.max,  # noqa: DTZ901
                profile_key=source.profile_key,
                identities=source.file_identities,
                status=source.file_status,
            )
            known = self._readers[segment] = source, members
        return known

    def _small(self, key: str) -> bytes:
        with self._opener(FilePart(key, 0, ""))() as stream:
            return stream.read(MAX_SMALL)

    def _opener(self, part: FilePart) -> Callable[[], BinaryIO]:
        request = {"Bucket": self._bucket, "Key": part.key, **({"IfMatch": part.etag} if part.etag else {})}

        def opened() -> BinaryIO:
            found = _called(self._client().get_object, request, FORBIDDEN)
            return cast("BinaryIO", io.BufferedReader(_Body(found["Body"])))

        return opened


class S3Pages:
    """`Pages` in a bucket."""

    def __init__(self, bucket: str, client: Callable[[], Client]) -> None:
        self._bucket = bucket
        self._client = client

    def keep(self, import_id: str, page: int, ids: bytes) -> None:
        """See `Pages`."""
        key = f"{PRESENT}{import_id}/{page:06d}"
        _called(self._client().put_object, {"Bucket": self._bucket, "Key": key, "Body": ids})

    def read(self, import_id: str) -> Iterator[bytes]:
        """See `Pages`."""
        for one in _listed(self._client(), self._bucket, f"{PRESENT}{import_id}/"):
            found = _called(self._client().get_object, {"Bucket": self._bucket, "Key": one["Key"]})
            with io.BufferedReader(_Body(found["Body"])) as stream:
                yield stream.read()

    def drop(self, import_id: str) -> None:
        """See `Pages`."""
        for one in list(_listed(self._client(), self._bucket, f"{PRESENT}{import_id}/")):
            _called(self._client().delete_object, {"Bucket": self._bucket, "Key": one["Key"]})


class _Body(io.RawIOBase):
    """The bytes of an object as they come. Trouble on the way is Busy."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            given = self._body.read(len(buffer))
        except (BotoCoreError, OSError) as error:
            raise Busy("file_not_read", f"S3 stopped sending ({type(error).__name__})") from None
        buffer[: len(given)] = given
        return len(given)


def _listed(client: Client, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    request = {"Bucket": bucket, "Prefix": prefix}
    while True:
        answer = _called(client.list_objects_v2, request)
        yield from answer.get("Contents", ())
        if not answer.get("IsTruncated"):
            return
        request["ContinuationToken"] = answer["NextContinuationToken"]


def _called(
    call: Callable[..., Any], request: Mapping[str, Any], forbidden: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Call S3; raises Replaced, Unreadable for the codes that never pass, and Busy."""
    try:
        return call(**request)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("NoSuchKey", "PreconditionFailed", "404", "412"):
            raise Replaced("a file was replaced or deleted meanwhile") from None
        if forbidden and (code in forbidden or code.startswith("KMS.")):
            raise Unreadable(forbidden.get(code, f"its KMS key cannot be used ({code})")) from None
        raise Busy("file_not_read", f"S3 did not answer ({code})") from None
    except BotoCoreError as error:
        raise Busy("file_not_read", f"S3 did not answer ({type(error).__name__})") from None
