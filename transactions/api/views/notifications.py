"""The customer's notifications."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.payloads import Data, MessageOutput
from kamioi_site.api.views import ApiView
from transactions.api.base import current_user
from transactions.migration_phase import get_read_source
from transactions.selectors.customer import NotificationRow, newest_notifications
from transactions.services.notifications import delete_notification, mark_all_notifications_read, mark_notification_read


class NotificationListView(ETagView):
    @extend_schema(responses={200: Data[list[NotificationRow]]}, tags=["portfolio"])
    def get(self, request: Request) -> Response:
        """Return the latest hundred."""
        user = current_user(request)
        return Response(self.payload(newest_notifications(user, get_read_source(user))))

    def payload(self, rows: list[NotificationRow]) -> dict[str, object]:
        """Return the body."""
        return {"success": True, "data": rows}


class NotificationView(ApiView):
    @extend_schema(responses={200: MessageOutput}, tags=["portfolio"])
    def delete(self, request: Request, notification_id: int) -> Response:
        """Delete one of the caller's notifications."""
        if not delete_notification(user=current_user(request), notification_id=notification_id):
            raise Http404
        return Response({"success": True, "message": "Notification deleted."})


class NotificationReadView(ApiView):
    @extend_schema(request=None, responses={200: MessageOutput}, tags=["portfolio"])
    def put(self, request: Request, notification_id: int) -> Response:
        """Mark one of the caller's notifications as read."""
        if not mark_notification_read(user=current_user(request), notification_id=notification_id):
            raise Http404
        return Response({"success": True, "message": "Notification marked as read."})


class NotificationReadAllView(ApiView):
    @extend_schema(request=None, responses={200: MessageOutput}, tags=["portfolio"])
    def put(self, request: Request) -> Response:
        """Mark all of the caller's notifications as read."""
        count = mark_all_notifications_read(user=current_user(request))
        return Response({"success": True, "message": f"{count} notifications marked as read."})
