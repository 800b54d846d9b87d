"""A result file, to a person who is signed in."""

from django.http import Http404
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from collections_app.access import Action, MemberRequest, collection_member
from collections_app.delivery import Reader, TooManyStreams, deliver
from collections_app.models import Collection, NotDownloadable, ResultFile
from collections_app.sources import deliverable
from collections_app.sources.base import ResultNotFound, SourceTimeout, SourceUnavailable
from collections_app.views import errors


@collection_member(Action.SEE, is_file=True)
@require_safe
def result_file(request: MemberRequest, collection: Collection, number: int, name: str) -> HttpResponseBase:
    """Deliver a ready run's file."""
    try:
        file = deliverable(ResultFile.objects.downloadable(collection, number, name))
        return deliver(request, file, Reader(request.user.pk))
    except (NotDownloadable, ResultNotFound) as error:
        raise Http404(str(error)) from None
    except TooManyStreams as error:
        return errors.too_many_downloads(request, error)
    except SourceTimeout as error:
        return errors.gateway_timeout(request, error)
    except SourceUnavailable as error:
        return errors.bad_gateway(request, error)
