"""URLs that only the legacy front end calls, all outside the documented API."""

from typing import Any

urlpatterns: list[Any] = []
