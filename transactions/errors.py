"""What can go wrong in this room. The docstring is the default message."""

from kamioi_site.errors import KamioiError


class SettingError(KamioiError):
    """A setting in the admin has a value that cannot be used."""


class StatementError(KamioiError):
    """The statement cannot be read."""
