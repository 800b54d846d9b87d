"""Parse RESULTS_STORAGE_URL, which says where the files of runs are stored."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_FORM = (
    "s3://KEY:SECRET@host/bucket or s3://KEY:SECRET@host:port/bucket/folder?region=name for HTTPS, the same "
    "with s3+http:// for plain HTTP, or file:///folder. In KEY and SECRET, write / as %2F, + as %2B, @ as %40"
)
_SCHEMES = {"s3": "https", "s3+http": "http"}
_HOST = re.compile(r"(?a)[\w.-]+|\[[0-9a-fA-F:.]+\]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_FOLDER = re.compile(r"([\w.-]+/)*[\w.-]+|", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]+", re.ASCII)
_DEFAULT_REGION = "us-east-1"


class InvalidAddress(ValueError):
    """The address of a results storage isn't valid. The message says why, without the secret."""


@dataclass(frozen=True)
class StorageAddress:
    """Where files are stored: the entry in STORAGES, and its name in messages."""

    entry: dict[str, Any]
    name: str


def in_folder(folder: Path) -> StorageAddress:
    """Return the address of a folder on this machine."""
    backend = "collections_app.files.storage.folder.FolderStorage"
    return StorageAddress({"BACKEND": backend, "OPTIONS": {"location": folder}}, f"the folder {folder}")


def parse(text: str, *, connections: int = 10) -> StorageAddress:
    """Parse an address. `connections` is the size of the connection pool for an object store.

    Raises InvalidAddress.
    """
    try:
        parts = urlsplit(text)
        if parts.scheme in _SCHEMES:
            return _in_bucket(parts, connections)
    except InvalidAddress:
        raise
    except ValueError:  # an invalid port or host
        raise _invalid("Its host or port isn't valid") from None
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return in_folder(Path(unquote(parts.path)))
    raise _invalid("Its scheme isn't known")


def _in_bucket(parts: SplitResult, connections: int) -> StorageAddress:
    host = parts.netloc.rpartition("@")[2]
    name = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    bucket, _, folder = parts.path.removeprefix("/").partition("/")
    folder = folder.rstrip("/")
    region = _region(parts.query)
    _check(_HOST.fullmatch(name) and parts.port != 0, "It has no valid host")
    _check(_BUCKET.fullmatch(bucket), "It has no valid bucket")
    _check(_FOLDER.fullmatch(folder) and not {".", ".."} & {*folder.split("/")}, "Its folder isn't valid")
    _check(region and _REGION.fullmatch(region), "Only region=name can follow the ?")
    _check(not parts.fragment, "It can't contain a #")
    _check(bool(parts.username) == bool(parts.password), "It needs both a key and a secret, or neither")
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
    path = "/".join(filter(None, (bucket, folder)))
    return StorageAddress({"BACKEND": backend, "OPTIONS": options}, f"the bucket {path} at {host}")


def _region(query: str) -> str:
    if not query:
        return _DEFAULT_REGION
    found = parse_qsl(query, keep_blank_values=True)
    return found[0][1] if [name for name, _ in found] == ["region"] else ""


def _check(condition: object, problem: str) -> None:
    if not condition:
        raise _invalid(problem)


def _invalid(problem: str) -> InvalidAddress:
    return InvalidAddress(f"{problem}. Use {_FORM}.")
