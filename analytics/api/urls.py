"""URLs of account statements, the same in every area of customers."""

from django.urls import path

from analytics.api.legacy.statements import LegacyStatementListView
from analytics.api.views.account_statements import StatementDownloadView
from transactions.api.urls import CUSTOMER_AREAS

urlpatterns = [
    url
    for area in CUSTOMER_AREAS
    for url in (
        path(f"{area}/statements", LegacyStatementListView.as_view(area=area), name=f"api-{area}-statements"),
        path(
            f"{area}/statements/<int:statement_id>/download",
            StatementDownloadView.as_view(),
            name=f"api-{area}-statement-download",
        ),
    )
]
