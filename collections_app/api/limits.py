"""The limits of the API. The OpenAPI document states them too."""

DEFAULT_CHANGES = 100  # changes in a list if the caller sends no `limit`
DEFAULT_LIMIT = 50  # runs in a list if the caller sends no `limit`
MAX_LIMIT = 1000  # runs
MAX_BODY_SIZE = 64 * 1024  # bytes
MAX_INTEGER = 2**63 - 1  # the largest integer that the database stores

EXPORT_RETRY_AFTER_SECONDS = 2  # how long a script waits before it requests an unfinished export again
