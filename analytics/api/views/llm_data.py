"""Search in the legacy system's page on its data system."""

from typing import TypedDict

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.serializers import SearchInput
from analytics.selectors.llm_data_api import Passage, search_passages
from kamioi_site.api.payloads import SuccessOutput
from transactions.api.base import validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView


class SearchResults(TypedDict):
    passages: list[Passage]
    total: int


class SearchOutput(SuccessOutput, SearchResults):
    """At most twenty results; `data` repeats them."""

    data: SearchResults


class SearchView(StaffView):
    required_permissions = ("transactions.view_backgroundtask",)

    @extend_schema(request=SearchInput, responses={200: SearchOutput}, tags=["llm data"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Return at most twenty results."""
        passages = search_passages(validated(SearchInput(data=request.data))["query"])
        results = SearchResults(passages=passages, total=len(passages))
        return Response({"success": True, **results, "data": results})
