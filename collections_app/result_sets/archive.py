"""The ZIP of a run's pages."""

import shutil
import zipfile
from collections.abc import Iterable
from datetime import datetime

from django.core.files.storage import storages

from collections_app.models import ResultFile
from collections_app.result_sets.new_file import NewFile

_BLOCK = 256 * 1024
# What the format can say.
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_LAST_DATE = (2107, 12, 31, 23, 59, 58)


def write_archive(pages: Iterable[ResultFile], out: NewFile, made_at: datetime) -> None:
    """Write the stored pages into a ZIP, deflated, and note in each page's row where its bytes lie.

    The rows are not saved. Members and archive may be of any size (Zip64 where they need it).
    """
    date = min(max(made_at.utctimetuple()[:6], _FIRST_DATE), _LAST_DATE)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for page in pages:
            member = zipfile.ZipInfo(page.name, date)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            member.file_size = page.size or 0  # tells zipfile whether the member needs Zip64
            with storages["results"].open(page.key) as stored, archive.open(member, "w") as packed:
                page.archive_offset = out.size
                shutil.copyfileobj(stored, packed, _BLOCK)
            page.archive_size = member.compress_size
            page.crc32 = member.CRC
