"""Read records from JSON. The amount of memory depends on the largest record, not on the file.

A list is read in chunks of many records, which msgspec decodes in a third of the time that `json` takes. If
msgspec refuses a chunk, `json` reads its records one by one: it reports errors with their position, and
accepts what msgspec doesn't, such as a lone surrogate.

Numbers keep their spelling: a float would turn 1299.00 into 1299.0 and round 0.1234567890123456789.
"""

import codecs
import enum
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NoReturn, Protocol

import msgspec

from collections_app.records.formats.nesting import MOST_NESTED, is_too_deep

# The key of the list in the object that the vendor wraps category lists in.
WRAPPER = "asins"
# An object with these keys is an API response, often an error. It is never treated as a list.
ENVELOPE_KEYS = {"code", "status"}

# A larger record is an error in the file, such as a missing quotation mark.
MAX_RECORD = 64 * 1024 * 1024
_CHUNK = 256 * 1024
# Smaller pieces aren't worth decoding separately.
_SMALLEST_PIECE = 4 * 1024
_LARGEST_CHUNK = 8 * 1024 * 1024

# An error this close to the end may disappear with the next chunk, because the text may have ended within
# a literal (-Infinity), an escape (\u0000) or a number (1e-).
_UNSURE = 16

_BLANKS = re.compile(r"[ \t\n\r]*")
_BLANK_BYTES = b" \t\n\r"
_LIST_BEGIN = re.compile(r"\[[ \t\n\r]*")
# The text between two records, up to the first key: the same throughout a file, and rare within a record.
_SEPARATOR = re.compile(r'\}[ \t\n\r]*,[ \t\n\r]*\{[ \t\n\r]*(?:"[^"\\]*")?')
# What comes before a value in a record.
_KEY = re.compile(r'[ \t\n\r]*+[{,][ \t\n\r]*+"(?:[^"\\]++|\\.)*+"[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
# Longer blanks at the end of a list aren't copied, because they are kept in memory.
_LONGEST_ENDING = 64 * 1024
# Lists are found below at most this many keys.
_MOST_KEYS = 4
_LONGEST_NAME = 100  # in messages
# How many possible ends of a piece are tried.
_TRIES = 3

# The beginnings of the json module's messages, and our own messages.
_PROBLEMS = {
    "Expecting value": "Expected a value",
    "Expecting property name": "Expected a key in double quotes",
    "Expecting ':'": "Expected : after the key",
    "Expecting ','": "Expected a comma, or the end of the object or list",
    "Unterminated string": 'Expected a " at the end of this text',
    "Invalid control character": "Expected an escape such as \\n, not a control character",
    "Invalid \\escape": "Expected an escape such as \\n or \\\\ after the \\",
    "Invalid \\u": "Expected four hexadecimal digits after \\u",
    "Illegal trailing comma": "Expected no comma before } or ]",
}
_NOT_JSON = "Expected JSON"
_TOO_DEEP = f"The value is nested too deeply, in more than {MOST_NESTED} objects and lists"
# What comes before NaN, Infinity or -Infinity. Possessive, so that no text makes it slow.
_BEFORE_CONSTANT = re.compile(r'(?:[^"NI-]++|-(?!I)|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)


class Number(bytes):
    """A number that isn't read as an int, as written in the file.

    It has a fraction or an exponent, or is -0, which an int can't represent, or has thousands of digits,
    which take long to convert.
    """

    __slots__ = ()


Record = dict[str, Any]
# The keys that lead to a value in an object.
JsonPath = tuple[str, ...]
_Decode = Callable[[bytes], list[Any]]


class Content(enum.Enum):
    """What a list contains."""

    RECORDS = "at least one object"
    OTHERS = "no objects, but other values"
    NOTHING = "nothing"


class InvalidRecords(Exception):
    """The text is invalid. Says what is wrong, and in which line and column, counted from 1."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem, line, column)
        self.problem = problem
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.problem}"


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, or nothing at the end."""
        ...


class ReadableLines(Protocol):
    """A stream of lines of bytes."""

    def readline(self, size: int, /) -> bytes:
        """Return at most `size` bytes of the next line, or nothing at the end."""
        ...


def read_records(stream: Readable, *, wrapped: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON list of objects, and with `wrapped` also of `{"asins": [...]}`.

    Other keys of the wrapper are ignored. The text is UTF-8, and can have a byte order mark. Raises
    InvalidRecords.
    """
    for some in read_batches(stream, wrapped=wrapped):
        yield from some


def count_records(stream: Readable, *, wrapped: bool = True) -> int:
    """Read a list as read_records() does, and return the number of records."""
    text = _Text(stream, (_decode_to_count,))
    return sum(map(len, _all_batches(text, wrapped=wrapped)))


def read_batches(stream: Readable, *, wrapped: bool = True, shape: type | None = None) -> Iterator[list[Any]]:
    """Yield the records in batches, which is faster than read_records(). A batch is never empty.

    `shape` is a msgspec.Struct that most records are expected to match. It must forbid unknown fields, which
    would otherwise be lost. A batch contains instances of it if all its records match, and dicts otherwise.
    """
    yield from _all_batches(_Text(stream, _decoders(shape)), wrapped=wrapped)


def check_beginning(data: bytes, *, wrapped: bool = True) -> None:
    """Check that these bytes can be the beginning of a list for read_records(). Raises InvalidRecords."""
    with suppress(_OutOfBytes):
        for _ in _all_batches(_Beginning(data), wrapped=wrapped):
            pass


def read_values(stream: Readable) -> Iterator[Any]:
    """Yield the items of a JSON list or wrapped list, of any type, or else the value itself.

    Use it to show the content of a file that may not be a list of records. Raises InvalidRecords after the
    values that can be read.
    """
    for some in _value_batches(_Text(stream, _decoders(None))):
        yield from some


class RecordsWithTexts(list[Record]):
    """Records, and their texts in the file. In the records, floats are rounded."""

    texts: list[bytes]


def read_texts(stream: Readable) -> Iterator[list[Any]]:
    """Yield the values that read_values() yields, in batches, most of them as RecordsWithTexts.

    This takes less time than read_values().
    """
    yield from _value_batches(_Text(stream, (_decode_with_texts, _decode_list)))


def parse_value(text: str) -> Any:
    """Return the value of a JSON text that was read before, with numbers as read_values() returns them."""
    return _DECODER.decode(text)


def copy_records(
    stream: Readable, write: Callable[[bytes], object], *, wrapped: bool, at: JsonPath | None = None
) -> int:
    """Copy a list of records while it is read, and return the number of records. Raises InvalidRecords.

    A list, or with `wrapped` an object that contains it, is copied byte for byte. Several lists that follow
    each other, as in `[...][...]`, become one. With `at`, the text is an object, and the list with this path
    is copied.
    """
    text = _CopiedText(stream, write, is_copying=at is None)
    if at is not None:
        batches = _batches_at(text, at)
    elif wrapped and text.peek() == "{":
        batches = _wrapped_batches(text)
    else:
        batches = _joined_batches(text)
    count = sum(map(len, batches))
    if text.peek():
        text.fail("Expected nothing after the list")
    text.settle()
    return count


def read_paths(stream: Readable) -> Iterator[tuple[JsonPath, Content | None]]:
    """Yield the path of each value in a JSON object, and the content of each list.

    Lists nested below more than four keys aren't found. Raises InvalidRecords.
    """
    text = _Text(stream, (_decode_to_count,))
    for path in _paths(text):
        yield path, _skip_value(text)


def read_json_lines(stream: ReadableLines) -> Iterator[bytes]:
    """Yield the text of the records of JSON Lines: one object per line. Blank lines are skipped.

    The text is UTF-8, with or without a byte order mark. Raises InvalidRecords, even if there are no records.
    """
    number = 0
    found = False
    while line := stream.readline(MAX_RECORD + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if _is_valid(line) or _has_record(line, number):
            found = True
            yield line.strip(_BLANK_BYTES)
    if not found:
        _Text(io.BytesIO()).fail("The file is empty")


def _has_record(line: bytes, number: int) -> bool:
    """Check a line that msgspec refuses. Return whether it has a record, and isn't blank."""
    text = _Text(io.BytesIO(line.rstrip(b"\r\n")), line=number)
    text.check_size(len(line))
    if not text.peek():
        return False
    text.take_object()
    if text.peek():
        text.fail("Expected the end of the line after the record")
    return True


def _is_valid(line: bytes) -> bool:
    """Whether msgspec accepts the line as a record."""
    if len(line) <= MAX_RECORD:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            _decode_one(line)
            return not is_too_deep(line)
    return False


def _all_batches(text: "_Text", *, wrapped: bool) -> Iterator[list[Any]]:
    if wrapped and text.peek() == "{":
        yield from _wrapped_batches(text)
    else:
        yield from _batches(text)
    if text.peek():
        text.fail("Expected nothing after the list")


def _batches(text: "_Text", *, of_anything: bool = False) -> Iterator[list[Any]]:
    if not text.peek():
        text.fail("The file is empty")
    text.expect("[", "Expected a list of records, in [ and ]")
    if text.peek() != "]":
        yield from _items(text, of_anything=of_anything)
    text.expect("]", "")


def _items(text: "_Text", *, of_anything: bool = False) -> Iterator[list[Any]]:
    """Yield the items of a list that isn't empty, up to its ]."""
    while True:
        is_value = of_anything and text.peek() != "{"
        yield text.take_many() or [text.take_value() if is_value else text.take_object()]
        if text.peek() == "]":
            return
        text.expect(",", "Expected , or ] after the record")


def _joined_batches(text: "_CopiedText") -> Iterator[list[Any]]:
    """Yield the records of one or more lists that follow each other, and copy them as one list."""
    separator = b""
    for some in _batches(text):
        separator = b","
        yield some
    while text.take_joint():
        if text.peek() != "]":
            text.insert(separator)
            separator = b","
            yield from _items(text)
        text.expect("]", "")


def _batches_at(text: "_CopiedText", chosen: JsonPath) -> Iterator[list[Any]]:
    """Yield the records of the list in an object with this path, and copy only that list."""
    found = False
    for path in _paths(text):
        if path != chosen:
            _skip_value(text)
            continue
        if found:
            text.peek()
            text.fail(f"Expected one {_name(chosen)} in the object, not two")
        found = True
        with text.copying():
            yield from _batches(text)
    if not found:
        text.fail(f"Expected a list {_name(chosen)} in the object")


def _paths(text: "_Text", above: JsonPath = ()) -> Iterator[JsonPath]:
    """Yield the path of each value in the next object. The caller must consume each value."""
    for key in _keys(text):
        path = (*above, key)
        if len(path) < _MOST_KEYS and text.peek() == "{":
            yield from _paths(text, path)
        else:
            yield path


def _name(path: JsonPath) -> str:
    return json.dumps(".".join(path)[:_LONGEST_NAME])


def _skip_value(text: "_Text") -> Content | None:
    """Skip the next value. Return its content if it is a list."""
    if text.begins_list_of_objects():
        for _ in _batches(text, of_anything=True):
            pass
        return Content.RECORDS
    value = text.take_value()
    if not isinstance(value, list):
        return None
    if not value:
        return Content.NOTHING
    return Content.RECORDS if any(isinstance(item, dict) for item in value) else Content.OTHERS


def _value_batches(text: "_Text") -> Iterator[list[Any]]:
    match text.peek():
        case "[":
            yield from _batches(text, of_anything=True)
        case "{":
            yield from _batches_of_wrapped_values(text)
        case "":
            text.fail("The file is empty")
        case _:
            yield [text.take_value()]
    if text.peek():
        text.fail("Expected nothing after the list")


def _batches_of_wrapped_values(text: "_Text") -> Iterator[list[Any]]:
    other: dict[str, Any] = {}
    found = False
    for key in _keys(text):
        if key == WRAPPER and text.peek() == "[":
            found = True
            yield from _batches(text, of_anything=True)
        else:
            other[key] = text.take_value()
    if not found:
        yield [other]


def _wrapped_batches(text: "_Text") -> Iterator[list[Any]]:
    found = False
    envelope_keys: set[str] = set()
    for key in _keys(text):
        if key != WRAPPER:
            text.take_value()
            envelope_keys |= ENVELOPE_KEYS & {key}
            continue
        if found:
            text.fail(f'Expected one "{WRAPPER}" in the object, not two')
        found = True
        yield from _batches(text)
    if envelope_keys == ENVELOPE_KEYS:
        text.fail('Expected a list, not an API response with "code" and "status"')
    if not found:
        text.fail(f'Expected a list, or an object with the list in it: {{"{WRAPPER}": [...]}}')


def _keys(text: "_Text") -> Iterator[str]:
    """Yield the keys of the object that comes next. The caller takes the value after each key."""
    text.expect("{", "Expected an object, in { and }")
    if text.peek() == "}":
        text.expect("}", "")
        return
    while True:
        if text.peek() != '"':
            text.fail("Expected a key in double quotes")
        key: str = text.take_value()
        text.expect(":", "Expected : after the key")
        yield key
        if text.peek() == "}":
            text.expect("}", "")
            return
        text.expect(",", "Expected , or } after the value")


class _Text:
    """JSON text of any length. It is decoded as needed, and what was taken is forgotten."""

    def __init__(self, stream: Readable, decoders: tuple[_Decode, ...] = (), *, line: int = 1) -> None:
        self._stream = stream
        self._decoders = decoders  # for lists of records, in the order in which they are tried
        self._separator = b""  # the text between records; empty until the first one was taken
        self._is_slow = False  # the records in this chunk have to be taken one by one
        self._raw = b""  # bytes that aren't decoded yet
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0  # the current position in the text
        self._line = line  # the position of the text in the file
        self._column = 1
        self._ended = False

    def peek(self) -> str:
        """Skip blanks and return the next character, or "" at the end of the file."""
        while True:
            self._skip_blanks()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read_more(_CHUNK)

    def expect(self, character: str, problem: str) -> None:
        """Take a character. Fail with the problem if it doesn't come next."""
        if self.peek() != character:
            self.fail(problem)
        self._at += 1

    def take_object(self) -> dict[str, Any]:
        """Take the object that comes next."""
        if self.peek() != "{":
            self.fail("Expected a record, in { and }")
        record = self.take_value()
        assert isinstance(record, dict)
        separator = _SEPARATOR.match(self._text, self._at - 1)
        self._separator = separator[0].encode() if separator else b""
        return record

    def take_many(self) -> list[Any]:
        """Take many records at once. Return an empty list if the next ones must be taken one by one."""
        if self._is_slow or not self._separator:
            return []
        self._undecode()
        for end in self._possible_ends():
            piece = self._raw[:end]
            if records := self._decoded(piece):
                self._raw = self._raw[end:]
                self._advance(piece)
                return records
        self._is_slow = True
        return []

    def _decoded(self, piece: bytes) -> list[Any]:
        """Return the records in a piece, or nothing if it has to be read in another way."""
        listed = b"[%b]" % piece
        for decode in self._decoders:
            # The end may be within a record; then the piece isn't valid JSON.
            with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                # One by one, because a record with few brackets takes no time.
                is_wrong = any(map(is_too_deep, map(bytes, _decode_raw(listed))))
                return [] if is_wrong else decode(listed)
        return []

    def _undecode(self) -> None:
        """Turn the remaining text into bytes again, and read more of them."""
        undecoded, _ = self._decoder.getstate()
        self._raw = self._forget().encode() + undecoded + self._raw
        # A byte order mark is skipped only at the beginning of the file.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._top_up()

    def _forget(self) -> str:
        """Forget the available text, and return the part that wasn't taken."""
        self._line, self._column = self._position_after(self._text[: self._at])
        rest, self._text, self._at = self._text[self._at :], "", 0
        return rest

    def _top_up(self) -> None:
        if len(self._raw) < _CHUNK:
            self._raw += self._read(_CHUNK)

    def _possible_ends(self) -> Iterator[int]:
        """Yield where a record may end in the available bytes, last one first."""
        last = min(len(self._raw), MAX_RECORD)  # no record can be too large then
        for _ in range(_TRIES):
            last = self._raw.rfind(self._separator, 0, last)
            if last < _SMALLEST_PIECE:
                return
            yield last + 1

    def _advance(self, piece: bytes) -> None:
        lines = piece.count(b"\n")
        self._line += lines
        length = len(piece[piece.rfind(b"\n") + 1 :].decode())
        self._column = length + 1 if lines else self._column + length

    def take_value(self) -> Any:
        """Take the JSON value that comes next."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error):
                    self.fail(_problem(error), error.pos)
            except RecursionError:
                self._fail_too_deep()
            except ValueError as error:  # NaN or Infinity
                self.fail(str(error), _position_of_constant(self._text, self._at))
            else:
                self._check_value(end)
                if self._is_complete(value, end):
                    self._at = end
                    return value
            # Double the amount each time, so that a large record isn't parsed again for every chunk.
            self._read_more(min(max(_CHUNK, len(self._text) - self._at), _LARGEST_CHUNK))

    def begins_list_of_objects(self) -> bool:
        """Whether a list comes next whose first item is an object. Consumes only blanks."""
        self.peek()
        while begin := _LIST_BEGIN.match(self._text, self._at):
            if begin.end() < len(self._text):
                return self._text[begin.end()] == "{"
            if self._ended:
                return False
            self.check_size(len(begin[0]))
            self._read_more(max(_CHUNK, len(begin[0])))
        return False

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        """Raise InvalidRecords for a position in the text, by default the current one."""
        before = self._text[: self._at if at is None else at]
        line, column = self._position_after(before)
        raise InvalidRecords(problem.removesuffix("."), line, column) from None

    def _check_value(self, end: int) -> None:
        """Fail if the value up to `end` is too large, or nested too deeply."""
        self.check_size(end - self._at)
        if _is_too_deep(self._text, self._at, end):
            self._fail_too_deep()

    def _fail_too_deep(self) -> NoReturn:
        self.fail(_TOO_DEEP, _position_of_deep_value(self._text, self._at))

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None
        self._at = blanks.end()

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        if self._ended:
            return False
        self.check_size(len(self._text) - self._at)
        return error.msg.startswith("Unterminated string") or error.pos + _UNSURE > len(self._text)

    def _is_complete(self, value: Any, end: int) -> bool:
        # A number may continue in the next chunk. Other values have a visible end.
        return self._ended or not isinstance(value, int | Number) or end + _UNSURE <= len(self._text)

    def check_size(self, size: int) -> None:
        """Fail if a record is too large to be valid."""
        if size > MAX_RECORD:
            self.fail(f"The record is larger than {MAX_RECORD // (1024 * 1024)} MiB")

    def _read_more(self, size: int) -> None:
        rest = self._forget()
        data, self._raw = self._raw, b""
        if not data:
            data = self._read(size)
            self._is_slow = False
        self._ended = not data
        try:
            self._text = rest + self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            self._text = rest + error.object[: error.start].decode()
            self.fail("The text is not UTF-8", len(self._text))

    def _read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end. A connection may return them in small pieces."""
        pieces = []
        while size > 0 and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _position_after(self, before: str) -> tuple[int, int]:
        lines = before.count("\n")
        if lines:
            return self._line + lines, len(before) - before.rfind("\n")
        return self._line, self._column + len(before)


class _CopiedText(_Text):
    """Text that is copied, as bytes, while it is taken."""

    def __init__(self, stream: Readable, write: Callable[[bytes], object], *, is_copying: bool) -> None:
        super().__init__(stream, (_decode_to_count,))
        self.insert = write
        self._is_copying = is_copying
        self._settled = 0  # the end of the text that was copied or left out
        self._is_beginning = True

    def settle(self) -> None:
        """Copy what was taken, or leave it out if nothing is being copied."""
        if self._is_copying:
            self.insert(self._text[self._settled : self._at].encode())
        self._settled = self._at

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Copy what is taken in the block."""
        self.peek()
        self.settle()
        self._is_copying = True
        yield
        self.settle()
        self._is_copying = False

    def take_joint(self) -> bool:
        """Take the [ of another list after a ], and copy neither. Without another list, copy the ]."""
        self._at -= 1
        self.settle()
        self._at += 1
        ending = io.BytesIO()
        with self._copying_to(ending):
            is_joint = self.peek() == "["
            if is_joint:
                self._at += 1
                self.peek()
        if not is_joint:
            self.insert(ending.getvalue())
        return is_joint

    @contextmanager
    def _copying_to(self, out: io.BytesIO) -> Iterator[None]:
        def write(data: bytes) -> None:
            out.write(data[: _LONGEST_ENDING - out.tell()])

        insert, self.insert = self.insert, write
        yield
        self.settle()
        self.insert = insert

    def _forget(self) -> str:
        self.settle()
        self._settled = 0
        return super()._forget()

    def _advance(self, piece: bytes) -> None:
        if self._is_copying:
            self.insert(piece)
        super()._advance(piece)

    def _read(self, size: int) -> bytes:
        data = super()._read(size)
        if self._is_beginning and self._is_copying and data.startswith(codecs.BOM_UTF8):
            self.insert(codecs.BOM_UTF8)  # the text doesn't contain it
        self._is_beginning = False
        return data


class _OutOfBytes(Exception):
    """The text continues beyond the available bytes."""


class _Beginning(_Text):
    """The beginning of a text. Raises _OutOfBytes when it runs out of bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), _decoders(None))

    def _top_up(self) -> None:
        pass  # There is nothing more to read, and the available text still has to be parsed.

    def _read(self, size: int) -> bytes:
        data = super()._read(size)
        if not data:
            raise _OutOfBytes
        return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _problem(error: json.JSONDecodeError) -> str:
    """Return what is wrong in our own words, because the parser's differ between versions."""
    return next((ours for theirs, ours in _PROBLEMS.items() if error.msg.startswith(theirs)), _NOT_JSON)


def _position_of_deep_value(text: str, at: int) -> int:
    """Return where the first value that is nested too deeply begins, in the record that begins at `at`."""
    separator = _KEY.match(text, at)
    while separator:
        try:
            _, end = _DECODER.raw_decode(text, separator.end())
        except (RecursionError, ValueError):
            return separator.end()
        if _is_too_deep(text, separator.end(), end, MOST_NESTED - 1):
            return separator.end()
        separator = _KEY.match(text, end)
    return at


def _is_too_deep(text: str, start: int, end: int, most: int = MOST_NESTED) -> bool:
    brackets = text.count("{", start, end) + text.count("[", start, end)
    return brackets > most and is_too_deep(text[start:end].encode(errors="replace"), most)


def _position_of_constant(text: str, at: int) -> int:
    """Return where the first constant that isn't JSON is, in the value that begins at `at`."""
    before = _BEFORE_CONSTANT.match(text, at)
    assert before is not None
    return before.end()


# The limit of Python's conversions between int and text.
_MOST_DIGITS = 4300
_NEGATIVE_ZERO = re.compile(rb"-0(?<=[\s:,\[]-0)(?=[\s,\]}])")


def _integer(digits: str) -> int | Number:
    return Number(digits.encode()) if digits == "-0" or len(digits) > _MOST_DIGITS else int(digits)


class _SharedNumbers(dict[str, Number]):
    """Numbers by their texts. Short ones are shared, because a record may contain millions of them."""

    _LONGEST = 6
    _MOST = 100_000

    def __missing__(self, text: str) -> Number:
        number = Number(text.encode())
        if len(text) <= self._LONGEST:
            if len(self) >= self._MOST:
                self.clear()
            self[text] = number
        return number


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_SharedNumbers().__getitem__, parse_int=_integer
)


def _fast_decoder(kind: Any) -> Callable[[bytes], Any]:
    decode = msgspec.json.Decoder(kind, float_hook=partial(Number, encoding="ascii")).decode

    def decode_unless_changed(data: bytes) -> Any:
        if _NEGATIVE_ZERO.search(data):
            raise msgspec.DecodeError("msgspec reads -0 as 0")
        return decode(data)

    return decode_unless_changed


_decode_list: _Decode = _fast_decoder(list[Record])

# To count or check records, floats take less time. What they can't represent is decoded by `json`.
_decode_to_count: _Decode = msgspec.json.Decoder(list[Record]).decode
_decode_raw: Callable[[bytes], list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_one: Callable[[bytes], Record] = msgspec.json.Decoder(Record).decode


def _decode_with_texts(data: bytes) -> RecordsWithTexts:
    # Raw values aren't checked completely.
    records = RecordsWithTexts(_decode_to_count(data))
    records.texts = list(map(bytes, _decode_raw(data)))
    return records


def _decoders(shape: type | None) -> tuple[_Decode, ...]:
    return (_decode_list,) if shape is None else (_fast_decoder(list[shape]), _decode_list)  # type: ignore[valid-type]
