"""URLs that only the legacy front end calls, all outside the documented API."""

from kamioi_site.api.legacy.replies import get_fixed_urls

urlpatterns = get_fixed_urls()
