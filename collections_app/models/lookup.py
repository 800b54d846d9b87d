"""Read what decides about a request with one query: key, memberships, collection, run and file.

Compiling such a query takes Django longer than the rest of the request for a small file, so the SQL is
written here. This module only reads; people/access.py decides.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState

from collections_app.models.collections import Collection
from collections_app.models.preferences import Preferences
from collections_app.models.runs import NotDownloadable, ResultFile, Run, check_ready
from collections_app.models.teams import ApiKey, Membership, Team, User

_MAX_INTEGER = 2**63 - 1


class Address(NamedTuple):
    """What an address names. The parts that it doesn't name are None."""

    collection_id: int | None = None
    number: int | None = None  # of a run
    name: str | None = None  # of a file

    def parameters(self) -> list[int | str | None]:
        """Return the values for the query. None matches no row, and replaces values that no row can have."""
        numbers = (self.collection_id, self.number)
        # SQLite rejects larger integers, and PostgreSQL rejects NUL.
        name = None if self.name is None or "\0" in self.name else self.name
        return [*(None if value is None or value > _MAX_INTEGER else value for value in numbers), name]


NOTHING = Address()


class Requested(NamedTuple):
    """The rows that an address names. The collection belongs to one of the caller's teams, or it is None."""

    collection: Collection | None = None
    run: Run | None = None
    file: ResultFile | None = None

    def downloadable(self, number: int) -> ResultFile:
        """Return the file with its run and collection. Raises NotDownloadable unless the run is ready."""
        check_ready(number, self.run)
        if self.file is None:
            raise NotDownloadable(f"Run {number} has no file with that name.")
        return self.file


def recognize(text: str, address: Address = NOTHING) -> tuple[ApiKey, Requested] | None:
    """Return the active key with this text, with its team, and what the address names, or None."""
    if len(text) > ApiKey.MAX_TEXT_LENGTH:
        return None
    query = _of_key(is_file=address.name is not None)
    for key, *rest in _rows(query, [*address.parameters(), ApiKey.digest_of(text)]):
        membership, requested = _related(*rest)
        _connect(key, "membership", membership)
        return key, requested
    return None


def memberships_of(user: User, address: Address = NOTHING) -> tuple[list[Membership], Requested]:
    """Return the user's memberships, sorted by team, and what the address names.

    The user's preferences are prefetched.
    """
    memberships, requested = [], Requested()
    query = _of_user(is_file=address.name is not None)
    for preferences, *row in _rows(query, [*address.parameters(), user.pk]):
        Preferences._meta.get_field("user").remote_field.set_cached_value(user, preferences)
        membership, found = _related(*row)
        membership.user = user
        memberships.append(membership)
        requested = found if found.collection else requested
    return memberships, requested


def _related(
    membership: Membership,
    team: Team,
    collection: Collection | None,
    run: Run | None,
    file: ResultFile | None,
) -> tuple[Membership, Requested]:
    """Connect the instances in a row."""
    _connect(membership, "team", team)
    if collection:
        _connect(collection, "team", team)
    if run and collection:
        _connect(run, "collection", collection)
    if file and run:
        _connect(file, "run", run)
    return membership, Requested(collection, run, file)


def _connect(row: models.Model, name: str, related: models.Model) -> None:
    """Set a relation to the instance that it refers to. Assigning it would take ten times as long."""
    row._meta.get_field(name).set_cached_value(row, related)  # type: ignore[union-attr]


# --- the query ----------------------------------------------------------------------------------


class _Table(NamedTuple):
    """A model in a query, with the fields that it reads. The other ones are read only when needed."""

    alias: str
    model: type[models.Model]
    names: tuple[str, ...] = ()  # all fields if empty

    @property
    def fields(self) -> list["models.Field[Any, Any]"]:
        fields = self.model._meta.concrete_fields
        return [field for field in fields if field.name in self.names or not self.names]

    @property
    def columns(self) -> list[str]:
        return [f'{self.alias}."{field.column}"' for field in self.fields]

    def __str__(self) -> str:
        return f'"{self.model._meta.db_table}" {self.alias}'

    def reader(self) -> Callable[[Sequence[Any], str], Any]:
        """Return a function that converts columns to an instance, or to None if there is no row."""
        names = [field.attname for field in self.fields]
        key = self.model._meta.pk.attname
        converters = [(field.attname, convert) for field in self.fields for convert in _converters(field)]

        def read(columns: Sequence[Any], database: str) -> Any:
            values = dict(zip(names, columns, strict=True))
            if values[key] is None:
                return None
            for name, convert in converters:
                values[name] = convert(values[name])
            return _instance(self.model, values, database)

        return read


def _instance(model: type[models.Model], values: dict[str, Any], database: str) -> models.Model:
    """Return what Model.from_db() returns, in a third of the time. Fields without a value are deferred."""
    row = model.__new__(model)
    vars(row).update(values)
    row._state = ModelState()
    row._state.adding, row._state.db = False, database
    return row


def _converters(field: "models.Field[Any, Any]") -> Iterator[Callable[[Any], Any]]:
    """Yield what the database and the field do to a value, as Django's compiler does."""
    expression = field.get_col(field.model._meta.db_table)
    for convert in connection.ops.get_db_converters(expression) + field.get_db_converters(connection):
        yield partial(_convert, convert, expression)


def _convert(convert: Callable[..., Any], expression: models.Expression, value: Any) -> Any:
    return convert(value, expression, connection)


class _Query(NamedTuple):
    sql: str
    readers: list[tuple[int, int, Callable[[Sequence[Any], str], Any]]]


# The aliases are short, because Django searches the SQL for parameters each time.
_KEY = _Table("k", ApiKey, ("id", "membership", "prefix", "last_used_at"))
_MEMBERSHIP = _Table("m", Membership, ("id", "user", "team", "role"))
_TEAM = _Table("t", Team, ("id", "name", "time_zone"))
# A page shows the collection. A download needs only a few fields of each row.
_COLLECTION = _Table("c", Collection)
_COLLECTION_OF_FILE = _Table("c", Collection, ("id", "team", "account", "remote_id"))
_RUN = _Table("r", Run, ("id", "collection", "number", "state"))
_FILE = _Table(
    "f",
    ResultFile,
    ("id", "run", "kind", "name", "key", "remote_name", "size", "sha256", "is_damaged", "modified"),
)
_PREFERENCES = _Table("p", Preferences)
_JOINED = f"""
JOIN {_TEAM} ON t.id = m.team_id
LEFT JOIN {_COLLECTION} ON c.id = %s AND c.team_id = m.team_id
LEFT JOIN {_RUN} ON r.collection_id = c.id AND r.number = %s
LEFT JOIN {_FILE} ON f.run_id = r.id AND f.name = %s
"""


def _rows_of(*, is_file: bool) -> tuple[_Table, ...]:
    return (_MEMBERSHIP, _TEAM, _COLLECTION_OF_FILE if is_file else _COLLECTION, _RUN, _FILE)


@cache
def _of_key(*, is_file: bool) -> _Query:
    active = ApiKey.objects.active().filter(digest="").order_by().values("pk")
    matching, _ = active.query.sql_with_params()
    joined = f"{_KEY} JOIN {_MEMBERSHIP} ON m.id = k.membership_id {_JOINED}"
    return _query((_KEY, *_rows_of(is_file=is_file)), f"{joined} WHERE k.id IN ({matching})")


@cache
def _of_user(*, is_file: bool) -> _Query:
    joined = f"{_MEMBERSHIP} {_JOINED} LEFT JOIN {_PREFERENCES} ON p.user_id = m.user_id"
    tables = (_PREFERENCES, *_rows_of(is_file=is_file))
    return _query(tables, f"{joined} WHERE m.user_id = %s ORDER BY t.name, m.id")


def _query(tables: Sequence[_Table], rest: str) -> _Query:
    columns = [table.columns for table in tables]
    bounds = pairwise(accumulate(map(len, columns), initial=0))
    readers = [(first, end, table.reader()) for (first, end), table in zip(bounds, tables, strict=True)]
    names = ", ".join(name for group in columns for name in group)
    return _Query(f"SELECT {names} FROM {rest}", readers)  # noqa: S608


def _rows(query: _Query, parameters: list[Any]) -> Iterator[list[Any]]:
    """Yield the instances in each row. A missing one is None."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(query.sql, parameters)
        rows = cursor.fetchall()
    for row in rows:
        yield [read(row[first:end], DEFAULT_DB_ALIAS) for first, end, read in query.readers]
