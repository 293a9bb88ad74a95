"""The encoding of cached values: MessagePack, so that a cached value equals a computed one, types included.

Never pickle: anyone who can write to Redis must not be able to run code here.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from msgspec import msgpack

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
# MessagePack has no such types, so each is an extension: its code, and how it becomes text and back.
_EXTENSIONS: Final[dict[type, tuple[int, Callable[[Any], str], Callable[[str], Any]]]] = {
    Decimal: (1, str, Decimal),
    datetime: (2, datetime.isoformat, datetime.fromisoformat),
    date: (3, date.isoformat, date.fromisoformat),
    timedelta: (
        4,
        lambda value: str(value // timedelta(microseconds=1)),
        lambda text: timedelta(microseconds=int(text)),
    ),
    UUID: (5, str, UUID),
}
_TUPLE: Final = 6
_DICT: Final = 7  # with keys of other than plain types
_DECODERS: Final = {code: decode for code, _, decode in _EXTENSIONS.values()}


def encode_value(value: object) -> bytes:
    """Encode a value.

    Raises:
        TypeError: a type that would not be decoded as it was encoded.
    """
    return msgpack.encode(_portable(value))


def decode_value(data: bytes) -> Any:
    """Decode a value; raises ValueError or ArithmeticError if it is damaged."""
    return msgpack.decode(data, ext_hook=_decode_extension)


def _portable(value: object) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_portable(item) for item in cast("list[object]", value)]
    if kind is dict:
        items = cast("dict[object, object]", value).items()
        if all(type(key) in _PLAIN for key, _ in items):
            return {key: _portable(item) for key, item in items}
        return msgpack.Ext(_DICT, encode_value([list(item) for item in items]))
    if kind is tuple:
        return msgpack.Ext(_TUPLE, encode_value(list(cast("tuple[object, ...]", value))))
    if kind in _EXTENSIONS:
        code, encode, _ = _EXTENSIONS[kind]
        return msgpack.Ext(code, encode(value).encode())
    if isinstance(value, str):  # e.g. a member of TextChoices
        return str.__str__(value)
    raise TypeError(f"{kind.__name__} cannot be cached: use plain values, lists, tuples and dictionaries")


def _decode_extension(code: int, data: memoryview) -> Any:
    if code in {_TUPLE, _DICT}:
        return (tuple if code == _TUPLE else dict)(decode_value(bytes(data)))
    return _DECODERS[code](bytes(data).decode())
