"""All URLs of the site."""

from django.contrib import admin
from django.urls import include, path, reverse_lazy
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from kamioi_site.admin import cache_page
from kamioi_site.auth import two_factor_views
from kamioi_site.auth.login_throttling import OwnPasswordView
from kamioi_site.http import health
from kamioi_site.observability.metrics.web import metrics_view

urlpatterns = [
    path("", RedirectView.as_view(url=reverse_lazy("admin:index"))),
    path("admin/two-factor/", admin.site.admin_view(two_factor_views.two_factor_view), name="admin-two-factor"),
    path("admin/password_change/", admin.site.admin_view(OwnPasswordView.as_view())),
    path("admin/cache/", admin.site.admin_view(cache_page.cache_view), name="admin-cache"),
    path("admin/dashboards/", include("analytics.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics_view, name="metrics"),
    path("account/", include("transactions.urls")),
    path("api/", include("transactions.api.urls")),
    path("api/", include("transactions.api.staff.urls")),
    path("api/", include("llm_center.api.urls")),
    path("api/", include("analytics.api.urls")),
    path("api/", include("analytics.api.staff_urls")),
    path("api/", include("transactions.api.legacy.urls")),
    path("api/", include("llm_center.api.legacy.urls")),
    path("api/", include("analytics.api.legacy.urls")),
    path("api/", include("kamioi_site.api.legacy.replies")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
]
handler400 = "kamioi_site.api.errors.bad_request"
handler404 = "kamioi_site.api.errors.page_not_found"
handler500 = "kamioi_site.api.errors.server_error"
