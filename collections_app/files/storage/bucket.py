"""The results storage in a bucket of a server with the S3 API.

Bytes stream in both directions: a file is uploaded in parts while it is written, and appears after the last
one. A part of a file is downloaded while it is read. All errors are OSErrors.
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

# S3 allows 10,000 parts of at least 5 MiB. They grow by 8 MiB every thousand parts: 440 GB are possible.
PART_SIZE = 8 * 1024**2
_PARTS_PER_SIZE = 1000

_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_ATTEMPTS = 3
# How many times in a row an interrupted download is resumed.
_MAX_RESUMES = 3

# How much is read at once: little for a slow client, so that many of them need little memory.
_SMALLEST_CHUNK = 64 * 1024
_LARGEST_CHUNK = 1024 * 1024
_SLOW_SECONDS = 0.5
_BUFFER = 256 * 1024

# Between the key and the upload ID of a file that is being written. Our keys don't contain it.
_UPLOAD = "#"

_NO_STORAGE = "The server at this address isn't an object store"
_NO_KEY = (
    "No key for the object storage is set. Add KEY:SECRET@ before the host in RESULTS_STORAGE_URL, or set "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)

_MISSING = {"404", "NoSuchKey", "NoSuchUpload"}


class BucketStorage(S3Storage):  # type: ignore[misc]
    """The S3 storage of django-storages, with files that stream. See ResultsStorage.

    The part of a key before a slash is treated as a folder. A file that is being written is listed as
    `name#upload.part`. Deleting it under that name aborts its upload.

    It uses private parts of django-storages (1.14.6 was read), which a test checks.
    """

    def __init__(self, *, connections: int = 10, **options: Any) -> None:
        """Take the options of django-storages, and the size of the connection pool."""
        config = Config(
            # Path-style addresses work for any host name.
            s3={"addressing_style": "path"},
            signature_version="s3v4",
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=connections,
            # Not every server supports newer checksums. All check the Content-MD5 header that we send.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        super().__init__(**({"client_config": config, "default_acl": None} | options))
        self._lock = threading.Lock()
        self._shared: tuple[int, Any, Any] = (0, None, None)

    @property
    def connection(self) -> Any:
        """One connection for all threads. A connection per thread, as in django-storages, needs megabytes.

        Only its client is used, which is thread-safe.
        """
        return self._session_and_connection()[1]

    def _session_and_connection(self) -> tuple[Any, Any]:
        with self._lock:
            process, session, connection = self._shared
            # A forked process must not share connections.
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
        """Call an operation of the server, for a key if one is given. Raises OSError."""
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
        """Return a part of an object, which is requested when it is read. See ResultsStorage."""
        return cast(BinaryIO, StoredObject(self, key, start, length))

    def delete(self, name: str) -> None:
        """Delete an object, or abort an upload. See ResultsStorage."""
        key, is_upload, upload = name.partition(_UPLOAD)
        with suppress(FileNotFoundError):
            if is_upload:
                self.call("abort_multipart_upload", key, UploadId=upload.removesuffix(PART_SUFFIX))
            else:
                self.call("delete_object", name)

    def exists(self, name: str) -> bool:
        """Return whether an object exists."""
        try:
            self.call("head_object", name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        """Return the size of an object in bytes."""
        return int(self.call("head_object", name)["ContentLength"])

    def get_modified_time(self, name: str) -> datetime:
        """Return when an object was written."""
        return cast(datetime, self.call("head_object", name)["LastModified"])

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        """Return the names in a folder. See ResultsStorage."""
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
        """Return the files in each subfolder, in as few calls as possible. See ResultsStorage."""
        prefix = self._prefix(folder)
        found: dict[str, dict[str, int]] = {}
        for page in self._pages("list_objects_v2", Prefix=prefix):
            for each in page.get("Contents", ()):
                _put(found, each["Key"].removeprefix(prefix), each["Size"])
        for rest in self._uploads_below(prefix):
            _put(found, rest, 0)
        return found

    def remove_folder(self, folder: str) -> bool:
        """Do nothing: a folder without files doesn't exist."""
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
        """Return the path and headers of a request for an object, or a part of it.

        For some minutes, anyone can use them, so they must not be logged or shown. Raises OSError.
        """
        path = f"{self.bucket_name}/{self._normalize_name(key)}"
        request = AWSRequest("GET", f"{self.endpoint_url}/{path}")
        with _translated(key):
            credentials = self._session_and_connection()[0].get_credentials()
            S3SigV4Auth(credentials, "s3", self.region_name).add_auth(request)
        return path, {"Host": urlsplit(request.url).netloc, **request.headers}

    def local_path(self, key: str) -> None:
        """Return None: objects are on a server. See ResultsStorage."""

    def check(self) -> None:
        """Raise OSError if the bucket can't be read."""
        try:
            self.call("list_objects_v2", MaxKeys=1)
        except FileNotFoundError:  # for a missing bucket, the code is NoSuchBucket
            raise OSError(errno.EIO, _NO_STORAGE, self.endpoint_url) from None


def _put(found: dict[str, dict[str, int]], rest: str, size: int) -> None:
    folder, _, name = rest.partition("/")
    if name and "/" not in name:
        found.setdefault(folder, {})[name] = size


class StoredObject(io.RawIOBase):
    """An object, or `length` bytes of it from `start`, downloaded while it is read.

    An interrupted download is resumed if the object hasn't changed.
    """

    def __init__(self, storage: BucketStorage, key: str, start: int = 0, length: int | None = None) -> None:
        """Request the object's size. Raises FileNotFoundError, OSError."""
        self._storage = storage
        self._key = key
        head = storage.call("head_object", key)
        self.size = int(head["ContentLength"])
        self._etag: str = head["ETag"]
        self._at = start
        self._end = self.size if length is None else min(start + length, self.size)
        self._body: Any = None
        self._chunk = _SMALLEST_CHUNK
        self._returned_at = time.monotonic()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the current position."""
        return self._at

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Change the position. The next read requests the bytes there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        position += base
        if position < 0:
            # The same error as for a file. zipfile relies on it.
            raise OSError(errno.EINVAL, "The position is before the beginning", self._key)
        if position != self._at:
            self._release()
            self._at = position
        return position

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer, none at the end. Raises OSError."""
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, none at the end. Raises OSError."""
        if size < 0:
            return self.readall()
        size = min(size, self._end - self._at, self._chunk_for_this_client())
        if size <= 0:
            return b""
        data = self._next(size)
        self._at += len(data)
        self._returned_at = time.monotonic()
        return data

    def close(self) -> None:
        """Release the connection. It is closed unless the part was read to its end."""
        self._release()
        super().close()

    def _chunk_for_this_client(self) -> int:
        is_slow = time.monotonic() - self._returned_at > _SLOW_SECONDS
        chunk = self._chunk
        self._chunk = _SMALLEST_CHUNK if is_slow else min(2 * chunk, _LARGEST_CHUNK)
        return min(chunk, self._chunk)

    def _next(self, size: int) -> bytes:
        for attempt in range(_MAX_RESUMES + 1):
            try:
                with _translated(self._key):
                    data = cast(bytes, self._opened().read(size))
                if data:
                    return data
            except FileNotFoundError:
                raise
            except OSError as error:
                self._release()
                if attempt == _MAX_RESUMES:
                    raise
                logger.warning("Interrupted while reading %s from the bucket: %s", self._key, error.strerror)
            else:
                self._release()
        raise OSError(errno.EIO, "The object storage sent too few bytes", self._key)

    def _opened(self) -> Any:
        if self._body is None:
            part = f"bytes={self._at}-{self._end - 1}"
            # The server must not send parts of a newer object.
            response = self._storage.call("get_object", self._key, Range=part, IfMatch=self._etag)
            self._body = response["Body"]
            expected = f"bytes {self._at}-{self._end - 1}/{self.size}"
            if response.get("ContentRange") != expected:
                raise OSError(errno.EIO, "The object storage sent the wrong part", self._key)
        return self._body

    def _release(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


class NewObject(DiscardedOnError):
    """A WritableFile in a bucket. It is uploaded in parts, and appears when it is closed.

    The server checks the MD5 of each part. After the upload, size and ETag of the object are checked.
    """

    modified: datetime | None = None  # the server sets the time

    def __init__(self, storage: BucketStorage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._buffer = bytearray()
        self._upload = ""
        self._parts: list[dict[str, Any]] = []
        self._size = 0
        self.closed = False

    def write(self, data: bytes, /) -> int:
        """Add the bytes, and upload a part if one is complete. Raises OSError."""
        if self.closed:
            raise ValueError("The file is closed.")
        self._buffer += data
        self._size += len(data)
        part = PART_SIZE * (1 + len(self._parts) // _PARTS_PER_SIZE)
        while len(self._buffer) >= part:
            self._send_part(bytes(self._buffer[:part]))
            del self._buffer[:part]
        return len(data)

    def close(self) -> None:
        """Store the object, and check it. See WritableFile."""
        if self.closed:
            return
        try:
            self._check(self._complete() if self._upload else self._put())
        except BaseException:
            self.discard()
            raise
        self.closed = True

    def discard(self) -> None:
        """Delete what was written. See WritableFile."""
        if self.closed:
            return
        self.closed = True
        self._buffer.clear()
        if self._upload:
            try:
                self._storage.call("abort_multipart_upload", self._key, UploadId=self._upload)
            except OSError as error:  # repair_runs aborts it later
                logger.warning("Can't abort the upload of %s: %s", self._key, error.strerror)

    def _send_part(self, data: bytes) -> None:
        if not self._upload:
            response = self._storage.call("create_multipart_upload", self._key, ContentType=CONTENT_TYPE)
            self._upload = response["UploadId"]
        number = len(self._parts) + 1
        response = self._storage.call(
            "upload_part",
            self._key,
            UploadId=self._upload,
            PartNumber=number,
            Body=data,
            ContentMD5=_md5(data),
        )
        self._parts.append({"PartNumber": number, "ETag": response["ETag"]})

    def _complete(self) -> str:
        if self._buffer:
            self._send_part(bytes(self._buffer))
        response = self._storage.call(
            "complete_multipart_upload",
            self._key,
            UploadId=self._upload,
            MultipartUpload={"Parts": self._parts},
        )
        return str(response["ETag"])

    def _put(self) -> str:
        data = bytes(self._buffer)
        response = self._storage.call(
            "put_object", self._key, Body=data, ContentType=CONTENT_TYPE, ContentMD5=_md5(data)
        )
        return str(response["ETag"])

    def _check(self, etag: str) -> None:
        stored = self._storage.call("head_object", self._key)
        if (stored["ContentLength"], stored["ETag"]) != (self._size, etag):
            self._storage.delete(self._key)
            raise OSError(errno.EIO, "The object storage stored different data than was sent", self._key)


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Raise OSErrors instead of botocore's errors. They contain only the name of a key or bucket."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code in _MISSING:
            raise FileNotFoundError(errno.ENOENT, "No such object", name) from None
        raise OSError(errno.EIO, f"The object storage refused the request: {code}", name) from None
    except (ConnectTimeoutError, ReadTimeoutError):
        raise TimeoutError(errno.ETIMEDOUT, "The object storage took too long to respond", name) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise OSError(errno.EIO, _NO_KEY, name) from None
    except BotoCoreError as error:
        problem = f"The object storage can't be reached ({type(error).__name__})"
        raise OSError(errno.EIO, problem, name) from None
