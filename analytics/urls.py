"""URLs of the dashboards, below the admin."""

from django.contrib import admin
from django.urls import path

from analytics import views

_page = admin.site.admin_view

urlpatterns = [
    path("operations/retry/<uuid:task_id>/", _page(views.retry), name="dashboard-retry"),
    path("<slug:name>/", _page(views.dashboard), name="dashboard"),
    path("<slug:name>/<slug:panel>/", _page(views.dashboard_panel), name="dashboard-panel"),
]
