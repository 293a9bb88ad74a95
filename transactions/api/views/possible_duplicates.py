"""Purchases that two sources have, and the customer's decision about them."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.payloads import Data, MessageOutput
from kamioi_site.api.views import ApiView
from transactions.api.base import current_user, validated
from transactions.api.serializers import DuplicateDecisionInput
from transactions.selectors.possible_duplicates import PossibleDuplicateRow, possible_duplicates_of
from transactions.services.possible_duplicates import decide_possible_duplicates


class PossibleDuplicateListView(ETagView):
    @extend_schema(responses={200: Data[list[PossibleDuplicateRow]]}, tags=["transactions"])
    def get(self, request: Request) -> Response:
        """Return the latest hundred purchases on hold that another source probably has, with the other purchase."""
        return Response({"success": True, "data": possible_duplicates_of(current_user(request))})


class PossibleDuplicateView(ApiView):
    @extend_schema(request=DuplicateDecisionInput, responses={200: MessageOutput}, tags=["transactions"])
    def post(self, request: Request, transaction_id: int) -> Response:
        """Decide: `keep` both, and the purchase on hold is processed; or they are the `same`, and it is excluded."""
        user, decision = current_user(request), validated(DuplicateDecisionInput(data=request.data))["decision"]
        changed = decide_possible_duplicates(
            transaction_ids=[transaction_id], decision=decision, actor=user, customer=user
        )
        if not changed:
            raise Http404
        done = "Both purchases are kept." if decision == "keep" else "The purchase is excluded as a duplicate."
        return Response({"success": True, "message": done})
