"""Addresses of statements, the same for every kind of customer."""

from django.urls import path

from analytics.api import views
from transactions.api.urls import CUSTOMER_AREAS

urlpatterns = [
    address
    for area in CUSTOMER_AREAS
    for address in (
        path(f"{area}/statements", views.StatementListView.as_view(area=area), name=f"api-{area}-statements"),
        path(
            f"{area}/statements/<int:statement_id>/download",
            views.StatementDownloadView.as_view(),
            name=f"api-{area}-statement-download",
        ),
    )
]
