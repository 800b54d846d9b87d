"""The limit for nested values. The functions that read and write JSON call themselves for each level."""

import re
from itertools import accumulate

# How many objects and lists a value may be in, including its record.
MOST_NESTED = 500

_KEPT = b'{}[]"'
_OTHERS = bytes(set(range(256)).difference(_KEPT))
_STEPS = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")  # 1 and -1, if signed
_TEXT = re.compile(b'"[^"]*"')


def is_too_deep(text: bytes, most: int = MOST_NESTED) -> bool:
    """Whether values in this text, which is valid JSON, are in more than `most` objects and lists."""
    if len(text) <= 2 * most or text.count(b"{") + text.count(b"[") <= most:
        return False
    # A regular expression would need several times the memory of the text.
    text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    structure = text.translate(_STEPS, _OTHERS).replace(b'""', b"")
    if b'"' in structure:  # a text contains brackets
        structure = _TEXT.sub(b"", structure)
    return max(accumulate(memoryview(structure).cast("b")), default=0) > most
