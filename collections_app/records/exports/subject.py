"""The runs that an export is about, and how it combines them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from collections_app.models import Comparison, Layout, Run
from collections_app.models.exports import by_collection, newest_first
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.records.formats.xlsx import MOST_ROWS

# selection.json is a plain list, and needs no export.
FORMATS_OF_SEVERAL_RUNS = (Format.XLSX, Format.CSV, Format.JSONL, Format.PARQUET)
# The runs of a year.
MOST_RUNS = 400
MOST_SHEETS = 200


class InvalidSpec(Exception):
    """The parameters of an export are invalid. The message is for users."""


@dataclass(frozen=True)
class Subject:
    """One or more runs, and how their records are combined. The export belongs to the first run."""

    runs: tuple[Run, ...]
    layout: Layout = Layout.RUN
    comparison: Comparison | None = None

    @classmethod
    def table(cls, runs: Iterable[Run]) -> Self:
        """Return several runs of a collection as one table."""
        return cls(tuple(sorted(runs, key=newest_first)), Layout.RUNS)

    @classmethod
    def workbook(cls, runs: Iterable[Run]) -> Self:
        """Return a workbook with a sheet for each of these runs, which belong to different collections."""
        return cls(tuple(sorted(runs, key=by_collection)), Layout.SHEETS)

    @classmethod
    def changes(cls, comparison: Comparison, layout: Layout) -> Self:
        """Return the changes of a comparison."""
        return cls((comparison.run, comparison.since), layout, comparison)

    @property
    def total(self) -> int | None:
        """The number of records or changes, or None if an account doesn't report it."""
        if self.comparison is not None:
            return self.comparison.rows
        counts = [run.extracted for run in self.runs]
        return None if None in counts else sum(count or 0 for count in counts)

    def digest(self, spec: ExportSpec) -> str:
        """Return a digest of the runs and the spec, under which an export is stored."""
        if self.layout == Layout.RUN:
            return spec.digest
        runs: list[object] = [run.pk for run in self.runs]
        if self.layout == Layout.SHEETS:
            runs += [run.collection.name for run in self.runs]
        if self.comparison is not None:
            runs += [self.comparison.summary["key"], self.comparison.summary["basis"]]
        text = repr((spec.digest, self.layout.value, runs))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def check(self, spec: ExportSpec) -> None:
        """Raise InvalidSpec for too many runs, too many records for a sheet, and a search or filters."""
        if spec.is_narrowed:
            raise InvalidSpec(
                "Several runs can't be searched at once. Export the matching records of one run."
            )
        if self.layout == Layout.SHEETS:
            _check_sheets(len(self.runs))
        elif len(self.runs) > MOST_RUNS:
            raise InvalidSpec(f"At most {MOST_RUNS:,} runs can be exported together. Select fewer.")
        elif spec.format == Format.XLSX and (self.total or 0) >= MOST_ROWS:
            raise InvalidSpec(
                f"These runs have {self.total:,} records, but an Excel sheet has at most {MOST_ROWS - 1:,}. "
                "Select fewer runs, or choose CSV or Parquet."
            )


def _check_sheets(count: int) -> None:
    if count > MOST_SHEETS:
        raise InvalidSpec(
            f"A workbook can contain at most {MOST_SHEETS:,} collections. Download the ZIP instead."
        )
