"""The customer's savings goals."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.payloads import Data, MessageOutput
from kamioi_site.api.views import ApiView
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.serializers import GoalInput
from transactions.selectors import customer
from transactions.selectors.customer import GoalRow
from transactions.services.goals import create_goal, delete_goal, update_goal


class GoalListView(ETagView):
    area: str = "user"

    @extend_schema(responses={200: Data[list[GoalRow]]}, tags=["goals"])
    def get(self, request: Request) -> Response:
        """Return all goals, newest first."""
        return Response({"success": True, "data": customer.goals(current_user(request))})

    @extend_schema(request=GoalInput, responses={201: Data[GoalRow]}, tags=["goals"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Create a goal."""
        default_type = "personal" if self.area == "user" else self.area
        values = {"goal_type": default_type} | validated(GoalInput(data=request.data))
        goal = create_goal(user=current_user(request), **values)
        return Response({"success": True, "data": customer.goal_row(goal)}, status=status.HTTP_201_CREATED)


class GoalView(ApiView):
    @extend_schema(request=GoalInput(partial=True), responses={200: Data[GoalRow]}, tags=["goals"])
    def put(self, request: Request, goal_id: int) -> Response:
        """Change the given fields of one of the caller's goals."""
        changes = validated(GoalInput(data=request.data, partial=True))
        goal = update_goal(user=current_user(request), goal_id=goal_id, changes=changes)
        if goal is None:
            raise Http404
        return Response({"success": True, "data": customer.goal_row(goal)})

    @extend_schema(responses={200: MessageOutput}, tags=["goals"])
    def delete(self, request: Request, goal_id: int) -> Response:
        """Delete one of the caller's goals."""
        if not delete_goal(user=current_user(request), goal_id=goal_id):
            raise Http404
        return Response({"success": True, "message": "Goal deleted."})
