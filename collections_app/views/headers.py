"""Headers that Django has no setting for."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import has_vary_header

from collections_app.system.observability.requests import GetResponse

_UNUSED = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "usb",
)
_PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in _UNUSED)


def add_headers(get_response: GetResponse) -> GetResponse:
    """Return middleware that adds the headers, without changing headers set by a view."""

    def answered(request: HttpRequest) -> HttpResponseBase:
        answer = get_response(request)
        answer.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        answer.setdefault("Permissions-Policy", _PERMISSIONS_POLICY)
        # nginx would add its own Cache-Control to this one when it sends the file.
        if has_vary_header(answer, "Cookie") and "X-Accel-Redirect" not in answer:
            answer.setdefault("Cache-Control", "private, no-cache")
        return answer

    return answered
