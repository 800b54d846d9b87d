"""The results storage in a bucket of any server that speaks S3.

Bytes stream in both directions: a file is sent in parts as it is written and appears when the last one has
arrived, and a reader gets the part that it asks for as it comes. Whoever calls sees OSErrors alone.
"""

import base64
import errno
import hashlib
import io
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from django.core.files import File
from storages.backends.s3 import S3Storage

from collections_app.files.storage.base import PART_SUFFIX, DiscardedOnError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/octet-stream"

# S3 takes 10,000 parts of at least 5 MiB. They begin at 8 MiB and grow by that every thousand parts: 440 GB.
PART_SIZE = 8 * 1024**2
_PARTS_OF_A_SIZE = 1000

_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_ATTEMPTS = 3
# How often in a row a body that breaks off is asked for again, from where it broke off.
_RESUMED = 3

# What is read at once: little for a slow reader, so that many of them need little memory.
_PIECE = 64 * 1024
_LARGEST_PIECE = 1024 * 1024
_SLOW_SECONDS = 0.5
_BUFFER = 256 * 1024

# Between the key of a file that is being written and its upload. No key of ours has this.
_UPLOAD = "#"

_NO_STORAGE = "What answers at this address is no object storage"
_NO_KEY = (
    "There is no key for the object storage; RESULTS_STORAGE_URL has it before the host, as KEY:SECRET@, or "
    "the environment, in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)

_MISSING = {"404", "NoSuchKey", "NoSuchUpload"}


class BucketStorage(S3Storage):  # type: ignore[misc]
    """django-storages' S3 storage, whose files truly stream; see ResultsStorage in storage.py.

    There are no folders: what stands before a slash in a key is shown as one. A file that is being written is
    listed as `name#upload.part`; deleting it under that name ends its upload.
    """

    def __init__(self, *, connections: int = 10, **options: Any) -> None:
        """Take django-storages' options, and how many connections are kept for further use."""
        config = Config(
            # Any server understands an address such as this, whatever it is called itself.
            s3={"addressing_style": "path"},
            signature_version="s3v4",
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=connections,
            # Checksums that not every server knows; we send Content-MD5, which each checks.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        super().__init__(**({"client_config": config, "default_acl": None} | options))
        self._lock = threading.Lock()
        self._shared: tuple[int, Any, Any] = (0, None, None)

    @property
    def connection(self) -> Any:
        """One for all threads: django-storages makes one for each, which takes megabytes and time.

        Only its client is used, which threads may share.
        """
        return self._session_and_connection()[1]

    def _session_and_connection(self) -> tuple[Any, Any]:
        with self._lock:
            process, session, connection = self._shared
            # Connections must not be shared with a process that was forked off.
            if process != os.getpid():
                session = self._create_session()
                connection = session.resource(
                    "s3",
                    region_name=self.region_name,
                    endpoint_url=self.endpoint_url,
                    config=self.client_config,
                    verify=self.verify,
                )
                self._shared = (os.getpid(), session, connection)
            return session, connection

    def call(self, operation: str, key: str = "", **arguments: Any) -> dict[str, Any]:
        """Call the server about a key of ours. Raises OSError."""
        if key:
            arguments["Key"] = self._normalize_name(key)
        with _translated(key or self.bucket_name):
            method = getattr(self.connection.meta.client, operation)
            return cast(dict[str, Any], method(Bucket=self.bucket_name, **arguments))

    def _open(self, name: str, mode: str = "rb") -> Any:
        if mode == "wb":
            return NewObject(self, name)
        if mode != "rb":
            raise ValueError(f"Results are opened with 'rb' or 'wb', not {mode!r}.")
        stored = StoredObject(self, name)
        file = File(io.BufferedReader(stored, _BUFFER), name)
        file.size = stored.size
        return file

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        """Return a part of an object, asked for when it is read; see ResultsStorage."""
        return cast(BinaryIO, StoredObject(self, key, start, length))

    def delete(self, name: str) -> None:
        """Remove an object, or end an upload; see ResultsStorage."""
        key, is_upload, upload = name.partition(_UPLOAD)
        with suppress(FileNotFoundError):
            if is_upload:
                self.call("abort_multipart_upload", key, UploadId=upload.removesuffix(PART_SUFFIX))
            else:
                self.call("delete_object", name)

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        try:
            self.call("head_object", name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        """Return how many bytes an object has."""
        return int(self.call("head_object", name)["ContentLength"])

    def get_modified_time(self, name: str) -> datetime:
        """Return when an object was written."""
        return cast(datetime, self.call("head_object", name)["LastModified"])

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        """Return the names in a folder; see ResultsStorage."""
        prefix = self._prefix(name)
        folders: set[str] = set()
        files: list[str] = []
        for page in self._pages("list_objects_v2", Prefix=prefix, Delimiter="/"):
            folders.update(
                each["Prefix"].removeprefix(prefix)[:-1] for each in page.get("CommonPrefixes", ())
            )
            files += [each["Key"].removeprefix(prefix) for each in page.get("Contents", ())]
        for rest in self._uploads_below(prefix):
            folder, slash, _ = rest.partition("/")
            if slash:
                folders.add(folder)
            else:
                files.append(rest)
        return sorted(folders), [file for file in files if file]

    def contents(self, folder: str) -> dict[str, dict[str, int]]:
        """Return what lies in the folders of a folder, in as few calls as can be; see ResultsStorage."""
        prefix = self._prefix(folder)
        found: dict[str, dict[str, int]] = {}
        for page in self._pages("list_objects_v2", Prefix=prefix):
            for each in page.get("Contents", ()):
                _put(found, each["Key"].removeprefix(prefix), each["Size"])
        for rest in self._uploads_below(prefix):
            _put(found, rest, 0)
        return found

    def remove_folder(self, folder: str) -> bool:
        """Do nothing: a folder is gone with what lay in it."""
        return False

    def _prefix(self, folder: str) -> str:
        path: str = self._normalize_name(folder)
        return f"{path.rstrip('/')}/" if path else ""

    def _pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        with _translated(self.bucket_name):
            client = self.connection.meta.client
            yield from client.get_paginator(operation).paginate(Bucket=self.bucket_name, **arguments)

    def _uploads_below(self, prefix: str) -> Iterator[str]:
        for page in self._pages("list_multipart_uploads", Prefix=prefix):
            for each in page.get("Uploads", ()):
                yield f"{each['Key'].removeprefix(prefix)}{_UPLOAD}{each['UploadId']}{PART_SUFFIX}"

    def signed_request(self, key: str) -> tuple[str, dict[str, str]]:
        """Return a request's path and headers that the server answers with an object, or a part of it.

        For some minutes they do so whoever sends them: they must not be logged or shown. Raises OSError.
        """
        path = f"{self.bucket_name}/{self._normalize_name(key)}"
        request = AWSRequest("GET", f"{self.endpoint_url}/{path}")
        with _translated(key):
            credentials = self._session_and_connection()[0].get_credentials()
            S3SigV4Auth(credentials, "s3", self.region_name).add_auth(request)
        return path, {"Host": urlsplit(request.url).netloc, **request.headers}

    def check(self) -> None:
        """Raise OSError where the bucket can't be read, whose `strerror` says why in plain English."""
        try:
            self.call("list_objects_v2", MaxKeys=1)
        except FileNotFoundError:  # a bucket that isn't there has a code of its own
            raise OSError(errno.EIO, _NO_STORAGE, self.endpoint_url) from None


def _put(found: dict[str, dict[str, int]], rest: str, size: int) -> None:
    folder, _, name = rest.partition("/")
    if name and "/" not in name:
        found.setdefault(folder, {})[name] = size


class StoredObject(io.RawIOBase):
    """An object, or `length` bytes of it from `start` on, read as it comes.

    That it is there, and its size, are asked for at once; the bytes when they are read. One that breaks off
    is asked for again from there, as long as it is still the same object.
    """

    def __init__(self, storage: BucketStorage, key: str, start: int = 0, length: int | None = None) -> None:
        """Ask for the object's size. Raises FileNotFoundError, OSError."""
        self._storage = storage
        self._key = key
        head = storage.call("head_object", key)
        self.size = int(head["ContentLength"])
        self._etag: str = head["ETag"]
        self._at = start
        self._end = self.size if length is None else min(start + length, self.size)
        self._body: Any = None
        self._piece = _PIECE
        self._given_at = time.monotonic()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that one can go to any byte."""
        return True

    def tell(self) -> int:
        """Return at which byte it stands."""
        return self._at

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; the next read asks for it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        position += base
        if position < 0:
            # As a file says it, which who looks for the end of a ZIP relies on.
            raise OSError(errno.EINVAL, "There is nothing before the beginning", self._key)
        if position != self._at:
            self._leave()
            self._at = position
        return position

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, none at the end. Raises OSError."""
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, at most `size`; nothing at the end. Raises OSError."""
        if size < 0:
            return self.readall()
        size = min(size, self._end - self._at, self._piece_for_this_reader())
        if size <= 0:
            return b""
        data = self._next(size)
        self._at += len(data)
        self._given_at = time.monotonic()
        return data

    def close(self) -> None:
        """Leave the connection; it can be used again where the part was read to its end."""
        self._leave()
        super().close()

    def _piece_for_this_reader(self) -> int:
        is_slow = time.monotonic() - self._given_at > _SLOW_SECONDS
        piece = self._piece
        self._piece = _PIECE if is_slow else min(2 * piece, _LARGEST_PIECE)
        return min(piece, self._piece)

    def _next(self, size: int) -> bytes:
        for attempt in range(_RESUMED + 1):
            try:
                with _translated(self._key):
                    data = cast(bytes, self._asked().read(size))
                if data:
                    return data
            except FileNotFoundError:
                raise
            except OSError as error:
                self._leave()
                if attempt == _RESUMED:
                    raise
                logger.warning("The results storage broke off in %s: %s", self._key, error.strerror)
            else:
                self._leave()
        raise OSError(errno.EIO, "The object storage gave less than it said", self._key)

    def _asked(self) -> Any:
        if self._body is None:
            part = f"bytes={self._at}-{self._end - 1}"
            # Another object under the same key is refused: it would be mixed up with this one.
            answer = self._storage.call("get_object", self._key, Range=part, IfMatch=self._etag)
            self._body = answer["Body"]
            expected = f"bytes {self._at}-{self._end - 1}/{self.size}"
            if answer.get("ContentRange") != expected:
                raise OSError(
                    errno.EIO, "The object storage sent another part than it was asked for", self._key
                )
        return self._body

    def _leave(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


class NewObject(DiscardedOnError):
    """A WritableFile in a bucket: it is sent in parts, and nobody sees it before it is closed.

    Each part is checked by the server, by its MD5; the whole by its size and ETag when it is there.
    """

    modified: datetime | None = None  # the server says its own time

    def __init__(self, storage: BucketStorage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._buffer = bytearray()
        self._upload = ""
        self._parts: list[dict[str, Any]] = []
        self._size = 0
        self.closed = False

    def write(self, data: bytes, /) -> int:
        """Take the bytes, and send a part where there is one. Raises OSError."""
        if self.closed:
            raise ValueError("The file is closed.")
        self._buffer += data
        self._size += len(data)
        part = PART_SIZE * (1 + len(self._parts) // _PARTS_OF_A_SIZE)
        while len(self._buffer) >= part:
            self._send_part(bytes(self._buffer[:part]))
            del self._buffer[:part]
        return len(data)

    def close(self) -> None:
        """Let the object appear, and check it; see WritableFile."""
        if self.closed:
            return
        try:
            self._check(self._complete() if self._upload else self._put())
        except BaseException:
            self.discard()
            raise
        self.closed = True

    def discard(self) -> None:
        """Forget what was written; see WritableFile."""
        if self.closed:
            return
        self.closed = True
        self._buffer.clear()
        if self._upload:
            try:
                self._storage.call("abort_multipart_upload", self._key, UploadId=self._upload)
            except OSError as error:  # a repair finds what is left
                logger.warning("The upload of %s can't be ended: %s", self._key, error.strerror)

    def _send_part(self, data: bytes) -> None:
        if not self._upload:
            answer = self._storage.call("create_multipart_upload", self._key, ContentType=CONTENT_TYPE)
            self._upload = answer["UploadId"]
        number = len(self._parts) + 1
        answer = self._storage.call(
            "upload_part",
            self._key,
            UploadId=self._upload,
            PartNumber=number,
            Body=data,
            ContentMD5=_md5(data),
        )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    def _complete(self) -> str:
        if self._buffer:
            self._send_part(bytes(self._buffer))
        answer = self._storage.call(
            "complete_multipart_upload",
            self._key,
            UploadId=self._upload,
            MultipartUpload={"Parts": self._parts},
        )
        return str(answer["ETag"])

    def _put(self) -> str:
        data = bytes(self._buffer)
        answer = self._storage.call(
            "put_object", self._key, Body=data, ContentType=CONTENT_TYPE, ContentMD5=_md5(data)
        )
        return str(answer["ETag"])

    def _check(self, etag: str) -> None:
        stored = self._storage.call("head_object", self._key)
        if (stored["ContentLength"], stored["ETag"]) != (self._size, etag):
            self._storage.delete(self._key)
            raise OSError(errno.EIO, "The object storage keeps something else than it was sent", self._key)


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Raise OSError for what botocore raises. Nothing but the name of a key or bucket is told."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code in _MISSING:
            raise FileNotFoundError(errno.ENOENT, "No such object", name) from None
        raise OSError(errno.EIO, f"The object storage refuses: {code}", name) from None
    except (ConnectTimeoutError, ReadTimeoutError):
        raise TimeoutError(errno.ETIMEDOUT, "The object storage takes too long to answer", name) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise OSError(errno.EIO, _NO_KEY, name) from None
    except BotoCoreError as error:
        problem = f"The object storage can't be reached ({type(error).__name__})"
        raise OSError(errno.EIO, problem, name) from None
