"""Limits for compressed files, so that a small file can't fill the disk."""

# Scraped records are compressed to a fifth or less, rarely to a fiftieth.
_LARGEST_RATIO = 100
# A small file may contain this much in any case.
_ALWAYS_ALLOWED = 16 * 1024 * 1024

BOMB = (
    f" would be more than {_LARGEST_RATIO} times as large unpacked, like a ZIP bomb. "
    "If this is expected, unpack it and import the files."
)


def largest_content(compressed_size: int) -> int:
    """Return how many bytes a compressed file may contain."""
    return max(_ALWAYS_ALLOWED, compressed_size * _LARGEST_RATIO)
