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
from transactions.models import Goal
from transactions.selectors import customer
from transactions.selectors.customer import GoalRow
from transactions.services.goals import create_goal, delete_goal, update_goal


class _Goals:
    """What a front end sends about a goal, and what it gets."""

    input_class: type[GoalInput] = GoalInput

    def row(self, goal: Goal) -> GoalRow:
        """Return a goal as it is shown."""
        return customer.goal_row(goal)


class GoalListView(_Goals, ETagView):
    area: str = "user"

    @extend_schema(responses={200: Data[list[GoalRow]]}, tags=["goals"])
    def get(self, request: Request) -> Response:
        """Return all goals, newest first."""
        return Response(self.payload([self.row(goal) for goal in customer.goals(current_user(request))]))

    def payload(self, rows: list[GoalRow]) -> dict[str, object]:
        """Return the body of the list."""
        return {"success": True, "data": rows}

    @extend_schema(request=GoalInput, responses={201: Data[GoalRow]}, tags=["goals"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Create a goal."""
        default_type = "personal" if self.area == "user" else self.area
        values = {"goal_type": default_type} | validated(self.input_class(data=request.data))
        goal = create_goal(user=current_user(request), **values)
        return Response({"success": True, "data": self.row(goal)}, status=status.HTTP_201_CREATED)


class GoalView(_Goals, ApiView):
    @extend_schema(request=GoalInput(partial=True), responses={200: Data[GoalRow]}, tags=["goals"])
    def put(self, request: Request, goal_id: int) -> Response:
        """Change the given fields of one of the caller's goals."""
        changes = validated(self.input_class(data=request.data, partial=True))
        goal = update_goal(user=current_user(request), goal_id=goal_id, changes=changes)
        if goal is None:
            raise Http404
        return Response({"success": True, "data": self.row(goal)})

    @extend_schema(responses={200: MessageOutput}, tags=["goals"])
    def delete(self, request: Request, goal_id: int) -> Response:
        """Delete one of the caller's goals."""
        if not delete_goal(user=current_user(request), goal_id=goal_id):
            raise Http404
        return Response({"success": True, "message": "Goal deleted."})
