"""What RESULTS_STORAGE_URL says: where the files of runs are kept."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_FORM = (
    "s3://KEY:SECRET@host/bucket or s3://KEY:SECRET@host:port/bucket/folder?region=name over HTTPS, the same "
    "with s3+http:// over plain HTTP, or file:///folder; in KEY and SECRET write / as %2F, + as %2B, @ as %40"
)
_SCHEMES = {"s3": "https", "s3+http": "http"}
_HOST = re.compile(r"(?a)[\w.-]+|\[[0-9a-fA-F:.]+\]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_FOLDER = re.compile(r"([\w.-]+/)*[\w.-]+|", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]+", re.ASCII)
_DEFAULT_REGION = "us-east-1"


class InvalidAddress(ValueError):
    """The text is no address of a results storage; the message says why, and never holds the secret."""


@dataclass(frozen=True)
class StorageAddress:
    """Where files are kept: the entry in STORAGES, and how it is called in messages."""

    entry: dict[str, Any]
    shown: str


def in_folder(folder: Path) -> StorageAddress:
    """Return the address of a folder on this machine."""
    backend = "collections_app.files.storage.folder.FolderStorage"
    return StorageAddress({"BACKEND": backend, "OPTIONS": {"location": folder}}, f"the folder {folder}")


def parse(text: str, *, connections: int = 10) -> StorageAddress:
    """Return what an address says. `connections`: how many are kept to an object storage.

    Raises InvalidAddress.
    """
    try:
        parts = urlsplit(text)
        if parts.scheme in _SCHEMES:
            return _in_bucket(parts, connections)
    except InvalidAddress:
        raise
    except ValueError:  # no port, or no host
        raise _no_address("It is no address") from None
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return in_folder(Path(unquote(parts.path)))
    raise _no_address("It is no address of a known kind")


def _in_bucket(parts: SplitResult, connections: int) -> StorageAddress:
    host = parts.netloc.rpartition("@")[2]
    name = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    bucket, _, folder = parts.path.removeprefix("/").partition("/")
    folder = folder.rstrip("/")
    region = _region(parts.query)
    _check(_HOST.fullmatch(name) and parts.port != 0, "It names no host")
    _check(_BUCKET.fullmatch(bucket), "It names no bucket")
    _check(_FOLDER.fullmatch(folder) and not {".", ".."} & {*folder.split("/")}, "Its folder can't be one")
    _check(region and _REGION.fullmatch(region), "After the ? only region=name may stand")
    _check(not parts.fragment, "Nothing may stand after a #")
    _check(
        bool(parts.username) == bool(parts.password), "It has a key without a secret, or the other way round"
    )
    options = {
        "endpoint_url": f"{_SCHEMES[parts.scheme]}://{host}",
        "bucket_name": bucket,
        "location": folder,
        "region_name": region,
        "connections": connections,
    }
    if parts.username and parts.password:
        options |= {"access_key": unquote(parts.username), "secret_key": unquote(parts.password)}
    backend = "collections_app.files.storage.bucket.BucketStorage"
    place = "/".join(filter(None, (bucket, folder)))
    return StorageAddress({"BACKEND": backend, "OPTIONS": options}, f"the bucket {place} at {host}")


def _region(query: str) -> str:
    if not query:
        return _DEFAULT_REGION
    found = parse_qsl(query, keep_blank_values=True)
    return found[0][1] if [name for name, _ in found] == ["region"] else ""


def _check(condition: object, problem: str) -> None:
    if not condition:
        raise _no_address(problem)


def _no_address(problem: str) -> InvalidAddress:
    return InvalidAddress(f"{problem}. It must look like {_FORM}.")
