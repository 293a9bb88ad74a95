"""Input is refused before a view sees it: more items than a request may have, and what PostgreSQL cannot store.

That is NUL, lone surrogates, and ids out of range.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework import exceptions
from rest_framework.request import Request

from kamioi_site.api.errors import PayloadTooLargeError
from kamioi_site.numbers import IntegerField

ID_MAX: Final = 2**63 - 1  # the largest bigint
MAX_ITEMS: Final = 10_000  # in all lists of a body


class IdField(IntegerField):
    """The id of a row."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=ID_MAX, **options)


def contains_invalid_text(value: Any) -> bool:
    """Whether a nested value contains text that PostgreSQL cannot store."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\0" in item or (not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item)):
                return True
        elif isinstance(item, Mapping):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            stack += item
    return False


def contains_too_many_items(body: Any) -> bool:
    """Whether the lists of a body, nested ones too, have more than `MAX_ITEMS` items."""
    stack, items = [body], 0
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            items += len(value)
            if items > MAX_ITEMS:
                return True
            stack += value
        elif isinstance(value, Mapping):
            stack += value.values()
    return False


class ValidatedRequest(Request):
    """A request whose body has no more items than allowed, and only text that can be stored.

    A list is left to its view, which reports invalid items one by one.
    """

    def _parse(self) -> Any:
        try:
            data, files = super()._parse()  # type: ignore[misc]  # missing in the stubs
            body = dict(data.lists()) if isinstance(data, QueryDict) else data
            if contains_too_many_items(body):
                raise PayloadTooLargeError(f"A request may have at most {MAX_ITEMS:,} items. Send several.")
            if isinstance(body, Mapping) and contains_invalid_text(body):
                raise exceptions.ParseError("The body contains NUL or invalid characters.")
            for file in files.values() if files else ():
                if contains_invalid_text(file.name):
                    raise exceptions.ParseError("The file name contains invalid characters.")
        except (exceptions.APIException, RecursionError) as error:
            # As in DRF: a second access gets an empty body instead of parsing a consumed stream again.
            self._data, self._files = QueryDict(""), MultiValueDict[str, Any]()
            self._full_data = self._data
            if isinstance(error, RecursionError):
                raise exceptions.ParseError("The body is nested too deeply.") from error
            raise
        return data, files
