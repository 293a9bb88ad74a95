"""Errors as the legacy front end shows them."""

from rest_framework import exceptions, status
from rest_framework.response import Response

from kamioi_site.api.views import ApiView


class NotOfferedError(exceptions.APIException):
    """The page shows an action that does not exist here; its banner shows the reason."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED


class MoreMethods(ApiView):
    """A documented view with methods that only the legacy front end calls, and that `Allow` leaves out."""

    undocumented: tuple[str, ...] = ()

    @property
    def allowed_methods(self) -> list[str]:
        return [method for method in super().allowed_methods if method not in self.undocumented]


class BannerErrors(ApiView):
    """Repeats the text of an error as `message`, the only key that some banners read."""

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if response.status_code != status.HTTP_401_UNAUTHORIZED and "error" in (response.data or {}):
            response.data["message"] = response.data["error"]
        return response
