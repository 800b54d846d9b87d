"""The key of each collection, which the site suggests until a member chooses another one."""

import logging
from collections import Counter
from collections.abc import Sequence

from collections_app.models import Collection, Slice, TrackingSettings
from collections_app.records.preview.engine import SEARCHES, QueryTimeout, UnreadableFile
from collections_app.records.tracking.databases import open_files
from collections_app.records.tracking.keys import Key, suggest_key
from collections_app.records.tracking.slices import VERSION
from collections_app.records.tracking.stored_slices import SliceUnavailable, existing_slice

logger = logging.getLogger(__name__)

# How many runs a suggestion is checked against. They are the newest ones.
_RUNS = 3
_SECONDS = 60.0


def tracking_of(collection: Collection) -> TrackingSettings:
    """Return how the products of a collection are told apart. Until it has a slice, the row isn't saved."""
    found = TrackingSettings.objects.filter(collection=collection).first()
    return found or update_suggestion(collection) or TrackingSettings(collection=collection)


def update_suggestion(collection: Collection) -> TrackingSettings | None:
    """Suggest a key if no member has chosen one, and too few runs were known for the last suggestion.

    Return the settings, or None if no run of the collection has a slice with records.
    """
    newest = newest_slices(collection, _RUNS + 1)
    if not newest:
        return None
    found = TrackingSettings.objects.filter(collection=collection).first()
    if found and not (found.is_suggested and (len(newest) <= _RUNS or not found.key_columns)):
        return found
    try:
        key = suggested_key(newest[:_RUNS])
    except (SliceUnavailable, QueryTimeout, UnreadableFile, OSError) as error:
        logger.warning("tracking collection=%s problem=%s", collection.pk, error)
        return found
    return _store(collection, found, key)


def newest_slices(collection: Collection, most: int = _RUNS) -> list[Slice]:
    """Return the slices of the newest runs that have one and aren't empty."""
    slices = Slice.objects.ready().filter(run__collection=collection, version=VERSION, records__gt=0)
    return list(slices.select_related("run").order_by("-run__created_at", "-run__number")[:most])


def suggested_key(slices: Sequence[Slice]) -> Key:
    """Return the key that fits most of the slices, or (). Among equals, return that of the newest.

    Raises SliceUnavailable, TooManyQueries, QueryTimeout, UnreadableFile and OSError.
    """
    found = Counter[Key]()
    for each in slices:
        if file := existing_slice(each.run):  # it wasn't deleted meanwhile
            with open_files(file.path, seconds=_SECONDS, semaphore=SEARCHES) as database:
                found[suggest_key(database, file) or ()] += 1
    return max(found, key=lambda key: found[key], default=())


def _store(collection: Collection, found: TrackingSettings | None, key: Key) -> TrackingSettings:
    columns = list(key)
    if found is None:
        found, _ = TrackingSettings.objects.get_or_create(
            collection=collection, defaults={"key_columns": columns}
        )
    elif found.key_columns != columns:
        current = TrackingSettings.objects.filter(pk=found.pk, version=found.version, is_suggested=True)
        current.update(key_columns=columns, version=found.version + 1)
        found.refresh_from_db()
    return found
