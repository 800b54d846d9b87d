"""Whatever is downloaded, to a person who is signed in: delivered, or a page that says why it can't be."""

from collections.abc import Callable

from django.http import Http404
from django.http.response import HttpResponseBase

from collections_app.files.delivery import Reader, TooManyStreams, deliver
from collections_app.models import NotDownloadable
from collections_app.people.access import MemberRequest
from collections_app.sources import Deliverable, ResultNotFound, SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.views import errors


def delivered(request: MemberRequest, find: Callable[[], Deliverable]) -> HttpResponseBase:
    """Deliver what `find` returns; what it raises where there is nothing becomes a page."""
    return answered(request, lambda: deliver(request, find(), Reader(request.user.pk)))


def answered(request: MemberRequest, answer: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Return the answer, or a page for what it raises where there is nothing to download."""
    try:
        return answer()
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
