"""What operators ask about imports of whole segments: the last ones, one of them, to confirm or to cancel one."""

from typing import Protocol

from pydantic import Field

from relay.domain import moments
from relay.domain.problems import QuestionProblem
from relay.domain.segment_imports import ImportState, SegmentImport
from relay.stores import segment_imports
from relay.stores.database import Database
from relay.workers.operators.protocol import Answer, Question
from relay.workers.operators.running import BY_OPERATOR, Done


class ListImports(Question):
    """List the imports with the newest sets, newest first."""

    segment: str | None = Field(default=None, description="Only those of this segment, `source/segment`.")
    limit: int = Field(default=20, ge=1, le=100)


class ShowImport(Question):
    """Show one import."""

    id: str = Field(description="The import.")


class ConfirmImport(Question):
    """Let an import that waits for it take out everybody whom its set does not name."""

    id: str = Field(description="The import.")


class CancelImport(Question):
    """End an import where it stands. Whoever has entered stays in."""

    id: str = Field(description="The import.")


class BrokenRowPicture(Answer):
    """A row that cannot be used: its part, its line (from 1), and why. No values."""

    part: str
    line: int
    reason: str


class ImportPicture(Answer):
    """How far an import has come. Its counts are explained in docs/segment-files.md."""

    id: str
    segment: str
    state: str
    reason: str | None
    at: str = Field(description="The set's time: who was in the segment then is replaced, what is newer stays.")
    begun_at: str
    ended_at: str | None
    applied: int | None = Field(description="How many of the rows are stored so far, while it is `applying`.")
    counts: dict[str, int]
    broken: list[BrokenRowPicture] = Field(description="The first broken rows; `counts` has them all.")
    confirmed_by: str | None


class Imports(Answer):
    """Imports, newest first."""

    imports: list[ImportPicture]


class Importer(Protocol):
    """Decides about imports."""

    def confirm(self, import_id: str, by: str) -> bool:
        """Let an import remove who is missing; False when it does not wait for that."""
        ...

    def cancel(self, import_id: str, by: str) -> bool:
        """End an import where it stands; False when it is over."""
        ...


class Importing:
    """Answers `imports`, `import`, `confirm_import` and `cancel_import`."""

    def __init__(self, database: Database, importer: Importer) -> None:
        self._database = database
        self._importer = importer

    def list(self, question: ListImports) -> Imports:
        """List the last imports."""
        found = segment_imports.latest(self._database, question.segment, question.limit)
        return Imports(imports=list(map(picture, found)))

    def show(self, question: ShowImport) -> ImportPicture:
        """Show one import."""
        return picture(self._import(question.id))

    def confirm(self, question: ConfirmImport) -> Done:
        """Confirm an import, or say why that cannot be."""
        if self._importer.confirm(self._import(question.id).id, BY_OPERATOR):
            return Done(done=True)
        state = self._import(question.id).state.value
        return Done(done=False, reason=f"import {question.id} is {state}: only one that needs it can be confirmed")

    def cancel(self, question: CancelImport) -> Done:
        """Cancel an import, or say why that cannot be."""
        if self._importer.cancel(self._import(question.id).id, BY_OPERATOR):
            return Done(done=True)
        return Done(done=False, reason=f"import {question.id} is over ({self._import(question.id).state.value})")

    def _import(self, asked: str) -> SegmentImport:
        found = segment_imports.load(self._database, asked) if asked else None
        if found is None:
            raise QuestionProblem("unknown_import", "there is no such import", field="id")
        return found


def picture(one: SegmentImport) -> ImportPicture:
    """Return an import as it is shown."""
    return ImportPicture(
        id=one.id,
        segment=one.segment,
        state=one.state.value,
        reason=one.reason,
        at=moments.text(one.at),
        begun_at=moments.text(one.begun_at),
        ended_at=None if one.ended_at is None else moments.text(one.ended_at),
        applied=one.cursor if one.state is ImportState.APPLYING else None,
        counts=dict(one.counts),
        broken=[BrokenRowPicture(part=part, line=line, reason=why) for part, line, why in one.faults],
        confirmed_by=one.confirmed_by,
    )
