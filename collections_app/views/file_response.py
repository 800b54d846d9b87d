"""Send a file to a user, or an error page if there is no such file."""

from collections.abc import Callable

from django.http import Http404
from django.http.response import HttpResponseBase

from collections_app.files.delivery import Downloader, TooManyStreams, deliver
from collections_app.models import NotDownloadable
from collections_app.people.access import MemberRequest
from collections_app.sources import Deliverable, ResultNotFound, SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.views import errors


def file_response(request: MemberRequest, find: Callable[[], Deliverable]) -> HttpResponseBase:
    """Send the file that `find` returns, or an error page if it raises."""
    return response_or_error(request, lambda: deliver(request, find(), Downloader(request.user.pk)))


def response_or_error(request: MemberRequest, respond: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Return the response, or an error page if there is nothing to download."""
    try:
        return respond()
    except (NotDownloadable, ResultNotFound) as error:
        raise Http404(str(error)) from None
    except TooManyStreams as error:
        return errors.too_many_downloads(request, error)
    except SourceBusy as error:
        return errors.source_busy(request, error)
    except SourceTimeout as error:
        return errors.gateway_timeout(request, error)
    except SourceUnavailable as error:
        return errors.bad_gateway(request, error)
