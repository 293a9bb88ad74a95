"""Input is refused before a view sees it: too many items, lone surrogates, NUL in a URL or in the name of a file."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework import exceptions
from rest_framework.request import Request

from kamioi_site.api.errors import PayloadTooLargeError

MAX_ITEMS: Final = 10_000  # in all lists of a body


def contains_invalid_text(value: Any) -> bool:
    """Whether a nested value contains text that PostgreSQL cannot store: NUL, or no Unicode."""
    return any("\0" in text or _has_surrogate(text) for text in _texts(value))


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _texts(value: Any) -> Iterator[str]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            stack += item


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
    """A request whose body is Unicode and has no more items than allowed.

    NUL is left to the fields, because in a member that no view reads it does no harm. A list is left to its view, which
    reports invalid items one by one.
    """

    def _parse(self) -> Any:
        try:
            data, files = super()._parse()  # type: ignore[misc]  # missing in the stubs
            body = dict(data.lists()) if isinstance(data, QueryDict) else data
            if contains_too_many_items(body):
                raise PayloadTooLargeError(f"A request may have at most {MAX_ITEMS:,} items. Send several.")
            if isinstance(body, Mapping) and any(map(_has_surrogate, _texts(body))):
                raise exceptions.ParseError("The body contains invalid characters.")
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
