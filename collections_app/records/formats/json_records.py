"""Records read from JSON: memory is bounded by the largest record, not by the file.

A list is read in pieces of many records, which msgspec decodes in a third of the time that `json` takes.
Where a piece does not fit, for whatever reason, its records are taken one by one by `json`: that is what is
exact, says what is wrong and where, and reads what msgspec refuses, such as half a surrogate pair.
"""

import codecs
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn, Protocol

import msgspec

# The object that the vendor puts around a category's list.
WRAPPER = "asins"
# An object with these keys is an API response, often an error, and never a list, whatever else it contains.
ENVELOPE_KEYS = {"code", "status"}

# A larger record is a mistake in the file, such as a quotation mark that nobody closed.
MAX_RECORD = 64 * 1024 * 1024
_CHUNK = 256 * 1024
# A piece of fewer bytes is not worth the trouble.
_SMALLEST_PIECE = 4 * 1024
_LARGEST_CHUNK = 8 * 1024 * 1024

# How close to the end of the text an error may come from the text ending too early: a literal
# (-Infinity), an escape (\u0000) or a number (1e-) that goes on in the next chunk.
_UNSURE = 16

_BLANKS = re.compile(r"[ \t\n\r]*")
# What stands between two records: it is the same throughout a file, and seldom the same within a record.
_JOINT = re.compile(r'\}[ \t\n\r]*,[ \t\n\r]*\{[ \t\n\r]*(?:"[^"\\]*")?')
# So many places are tried where a piece might end.
_TRIES = 3

Record = dict[str, Any]
_Decode = Callable[[bytes], list[Any]]


class InvalidRecords(Exception):
    """The text is not what it should be; says what is wrong and where (both counted from 1)."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem, line, column)
        self.problem = problem
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.problem}"


class Readable(Protocol):
    """Anything bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; nothing at the end."""
        ...


class ReadableLines(Protocol):
    """Anything lines of bytes are read from."""

    def readline(self, size: int, /) -> bytes:
        """Return the next line, at most `size` bytes of it; nothing at the end."""
        ...


def read_records(stream: Readable, *, wrapped: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON array of objects, and with `wrapped` also of `{"asins": [...]}`.

    Whatever else the object around the list holds is skipped. UTF-8, with or without a byte order
    mark. Raises InvalidRecords.
    """
    for some in read_batches(stream, wrapped=wrapped):
        yield from some


def count_records(stream: Readable, *, wrapped: bool = True) -> int:
    """Read a list to its end, as read_records() does, and return how many records there are."""
    return sum(map(len, read_batches(stream, wrapped=wrapped)))


def read_batches(stream: Readable, *, wrapped: bool = True, shape: type | None = None) -> Iterator[list[Any]]:
    """Yield the records as read_records() does, but many at once, which is quicker; never an empty list.

    `shape` is a msgspec.Struct that most records are expected to be. It has to forbid unknown fields: what it
    doesn't name would not be looked at. A batch whose records all fit comes as instances of it, any other as
    dicts.
    """
    yield from _all_batches(_Text(stream, _decoders(shape)), wrapped=wrapped)


def check_beginning(data: bytes, *, wrapped: bool = True) -> None:
    """Check that these bytes can be the beginning of a list for read_records(). Raises InvalidRecords."""
    with suppress(_OutOfBytes):
        for _ in _all_batches(_Beginning(data), wrapped=wrapped):
            pass


def read_values(stream: Readable) -> Iterator[Any]:
    """Yield what a JSON array holds, whatever it is; of a wrapped list its items; anything else itself.

    For those who show what a file holds, also where that is not what it should be. Raises InvalidRecords,
    after the values that could be read.
    """
    text = _Text(stream, _decoders(None))
    match text.peek():
        case "[":
            yield from _values(text)
        case "{":
            yield from _wrapped_values(text)
        case "":
            text.fail("The file is empty")
        case _:
            yield text.take_value()
    if text.peek():
        text.fail("Expected nothing after the list")


def read_keys(stream: Readable) -> Iterator[str]:
    """Yield the keys of a JSON object, whose values are skipped. Raises InvalidRecords."""
    text = _Text(stream)
    for key in _keys(text):
        yield key
        text.take_value()


def read_json_lines(stream: ReadableLines) -> Iterator[dict[str, Any]]:
    """Yield the records of JSON Lines: one object on each line; blank lines are skipped.

    UTF-8, with or without a byte order mark. Raises InvalidRecords, also where there is no record.
    """
    number = 0
    found = False
    while line := stream.readline(MAX_RECORD + 1):
        number += 1
        record = _whole_line(line)
        if record is not None:
            found = True
            yield record
            continue
        text = _Text(io.BytesIO(line.rstrip(b"\r\n")), line=number)
        text.check_size(len(line))
        if text.peek():
            found = True
            yield text.take_object()
            if text.peek():
                text.fail("Expected the end of the line after the record")
    if not found:
        _Text(io.BytesIO()).fail("The file is empty")


def _whole_line(line: bytes) -> Record | None:
    """Return the record that a line is; None for whatever has to be looked at more closely."""
    if len(line) > MAX_RECORD:
        return None
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_one(line)
    return None


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
    if text.peek() == "]":
        text.expect("]", "")
        return
    while True:
        is_value = of_anything and text.peek() != "{"
        yield text.take_some() or [text.take_value() if is_value else text.take_object()]
        if text.peek() == "]":
            text.expect("]", "")
            return
        text.expect(",", "Expected , or ] after the record")


def _wrapped_values(text: "_Text") -> Iterator[Any]:
    other: dict[str, Any] = {}
    found = False
    for key in _keys(text):
        if key == WRAPPER and text.peek() == "[":
            found = True
            yield from _values(text)
        else:
            other[key] = text.take_value()
    if not found:
        yield other


def _values(text: "_Text") -> Iterator[Any]:
    for some in _batches(text, of_anything=True):
        yield from some


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
    """Yield the keys of the object that must come next; whoever takes a key takes its value as well."""
    text.expect("{", "Expected an object, in { and }")
    if text.peek() == "}":
        text.expect("}", "")
        return
    while True:
        if text.peek() != '"':
            text.fail('Expected a key, in " and "')
        key: str = text.take_value()
        text.expect(":", "Expected : after the key")
        yield key
        if text.peek() == "}":
            text.expect("}", "")
            return
        text.expect(",", "Expected , or } after the value")


class _Text:
    """JSON text of any length: decoded as it comes, forgotten as it is taken."""

    def __init__(self, stream: Readable, decoders: tuple[_Decode, ...] = (), *, line: int = 1) -> None:
        self._stream = stream
        self._decoders = decoders  # of lists of records, to be tried in this order
        self._joint = b""  # what stands between records; not known before the first
        self._is_slow = False  # whether what is at hand has to be taken record by record
        self._raw = b""  # read from the stream, and not decoded yet
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0  # where in the text we stand
        self._line = line  # where the text starts
        self._column = 1
        self._ended = False

    def peek(self) -> str:
        """Skip blanks and return the next character; nothing at the end of the file."""
        while True:
            self._skip_blanks()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read_more(_CHUNK)

    def expect(self, character: str, problem: str) -> None:
        """Take the character, which is what must come next."""
        if self.peek() != character:
            self.fail(problem)
        self._at += 1

    def take_object(self) -> dict[str, Any]:
        """Take the object that must come next."""
        if self.peek() != "{":
            self.fail("Expected a record, in { and }")
        record = self.take_value()
        assert isinstance(record, dict)
        joint = _JOINT.match(self._text, self._at - 1)
        self._joint = joint[0].encode() if joint else b""
        return record

    def take_some(self) -> list[Any]:
        """Take as many records as can be taken at once, with what is between them.

        None at all where that can't be done; the records have to be taken one by one then.
        """
        if self._is_slow or not self._joint:
            return []
        self._put_back()
        for end in self._places_to_cut():
            piece = self._raw[:end]
            for decode in self._decoders:
                # A cut in the middle of something leaves a piece that is no list.
                with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    records = decode(b"[%b]" % piece)
                    self._raw = self._raw[end:]
                    self._pass_over(piece)
                    return records
        self._is_slow = True
        return []

    def _put_back(self) -> None:
        """Turn the text at hand into bytes again, and add to them."""
        self._line, self._column = self._place_after(self._text[: self._at])
        undecoded, _ = self._decoder.getstate()
        self._raw = self._text[self._at :].encode() + undecoded + self._raw
        self._text, self._at = "", 0
        # Not the one that skips a byte order mark: that is for the beginning of the file.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._top_up()

    def _top_up(self) -> None:
        if len(self._raw) < _CHUNK:
            self._raw += self._read(_CHUNK)

    def _places_to_cut(self) -> Iterator[int]:
        """Yield where a record may end in the bytes at hand, from behind."""
        last = min(len(self._raw), MAX_RECORD)  # so that no record is too large
        for _ in range(_TRIES):
            last = self._raw.rfind(self._joint, 0, last)
            if last < _SMALLEST_PIECE:
                return
            yield last + 1

    def _pass_over(self, piece: bytes) -> None:
        lines = piece.count(b"\n")
        self._line += lines
        length = len(piece[piece.rfind(b"\n") + 1 :].decode())
        self._column = length + 1 if lines else self._column + length

    def take_value(self) -> Any:
        """Take the object, list, text, number or word that must come next."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error):
                    self.fail(error.msg, error.pos)
            except RecursionError:
                self.fail("The record is nested too deeply")
            except ValueError as error:  # a number that can't be held
                self.fail(str(error))
            else:
                self.check_size(end - self._at)
                if self._is_whole(value, end):
                    self._at = end
                    return value
            # Twice as much each time: the record is not parsed again for every chunk of it.
            self._read_more(min(max(_CHUNK, len(self._text) - self._at), _LARGEST_CHUNK))

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        """Raise InvalidRecords for a place in the text, by default where we stand."""
        before = self._text[: self._at if at is None else at]
        line, column = self._place_after(before)
        raise InvalidRecords(problem.removesuffix("."), line, column) from None

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None
        self._at = blanks.end()

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        if self._ended:
            return False
        self.check_size(len(self._text) - self._at)
        return error.msg.startswith("Unterminated string") or error.pos + _UNSURE > len(self._text)

    def _is_whole(self, value: Any, end: int) -> bool:
        # A number may go on in the next chunk; everything else has an end that can be seen.
        return self._ended or not isinstance(value, int | float) or end + _UNSURE <= len(self._text)

    def check_size(self, size: int) -> None:
        """Refuse a record of a size that can't be right."""
        if size > MAX_RECORD:
            self.fail(f"The record is larger than {MAX_RECORD // (1024 * 1024)} MiB")

    def _read_more(self, size: int) -> None:
        self._line, self._column = self._place_after(self._text[: self._at])
        rest, self._at = self._text[self._at :], 0
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
        """Return about `size` bytes, fewer at the end alone: a connection gives small pieces of what came."""
        pieces = []
        while size > 0 and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _place_after(self, before: str) -> tuple[int, int]:
        lines = before.count("\n")
        if lines:
            return self._line + lines, len(before) - before.rfind("\n")
        return self._line, self._column + len(before)


class _OutOfBytes(Exception):
    """The text continues beyond the available bytes."""


class _Beginning(_Text):
    """The beginning of a text. Raises _OutOfBytes when it runs out of bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), _decoders(None))

    def _top_up(self) -> None:
        pass  # There is nothing to add, and the available text still has to be parsed.

    def _read(self, size: int) -> bytes:
        data = super()._read(size)
        if not data:
            raise _OutOfBytes
        return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"The number {digits[:20]} is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)

_decode_one: Callable[[bytes], Record] = msgspec.json.Decoder(Record).decode
_decode_list: _Decode = msgspec.json.Decoder(list[Record]).decode


def _decoders(shape: type | None) -> tuple[_Decode, ...]:
    if shape is None:
        return (_decode_list,)
    decode: _Decode = msgspec.json.Decoder(list[shape]).decode  # type: ignore[valid-type]
    return decode, _decode_list
