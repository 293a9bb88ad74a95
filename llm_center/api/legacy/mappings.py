"""The Edit dialog of the LLM Center, which the front end offers for approved rows only."""

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import ErrorOutput, MessageOutput
from llm_center.api.serializers import EditInput
from llm_center.api.views.mappings import MappingUpdateView
from llm_center.errors import MappingAlreadyDecidedError
from llm_center.services.mapping_decisions import correct_decided_mapping
from transactions.api.base import current_user, validated


class EditView(MappingUpdateView):
    @extend_schema(request=EditInput, responses={200: MessageOutput, 409: ErrorOutput}, tags=["llm center"])
    def put(self, request: Request, mapping_id: int) -> Response:
        """Change a pending proposal, or the ticker of the merchant from now on if the row is its approval.

        409 if the row is no longer the decision on the merchant, or if a second reviewer has to make the same
        correction; 403 for rows of uploaded files.
        """
        try:
            return super().put(request, mapping_id)
        except MappingAlreadyDecidedError:
            data = validated(EditInput(data=request.data))
        values = {name: data[name] for name in ("merchant_name", "ticker", "category")}
        result = correct_decided_mapping(mapping_id=mapping_id, actor=current_user(request), **values)
        if result.decision is None:
            error = f"The correction to {data['ticker']} waits for another reviewer, who has to make the same one."
            return Response({"success": False, "error": error}, status=status.HTTP_409_CONFLICT)
        return Response({"success": True, "message": f"{data['merchant_name']} is {data['ticker']} from now on."})
