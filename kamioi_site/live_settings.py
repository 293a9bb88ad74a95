"""Settings that staff change while the system runs.

Every app declares the settings that it reads in its module `live_settings`, with a type, a range and a default:

    PLATFORM_FEE = DecimalSetting("platform_fee", 0, 100, default=lambda: settings.PLATFORM_FEE, places=2)
    ...
    fee = PLATFORM_FEE.get()

Values are stored as text in the table `admin_settings`. The same check runs when staff save a value and when the
program reads it: an invalid value raises `SettingError`, so nothing is computed from a guess.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, TypeVar

from django.db import connection

from kamioi_site.errors import KamioiError
from kamioi_site.numbers import parse_decimal

T = TypeVar("T")


class SettingError(KamioiError):
    """A setting in the admin has a value that cannot be used."""


class LiveSetting(Generic[T]):
    """A setting with a default, which applies while nothing is stored, or while the value is blank and may be."""

    registry: dict[str, "LiveSetting[Any]"] = {}
    requirement: str  # completes the sentence "It must be …"

    def __init__(self, key: str, *, default: Callable[[], T], blank: bool = False) -> None:
        self.key, self.default, self.blank = key, default, blank
        self.registry[key] = self

    def parse(self, text: str) -> T:
        """Convert stored text. Raises ValueError."""
        raise NotImplementedError

    def stored(self) -> str | None:
        """Return the stored text, unchecked; None when the setting is not stored."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT trim(value) FROM admin_settings WHERE key = %s", [self.key])
            row = cursor.fetchone()
        return row[0] if row else None

    def get(self) -> T:
        """Return the current value. Raises SettingError when the stored one is invalid."""
        return self.value_of(self.stored())

    def value_of(self, text: str | None) -> T:
        """Convert the stored text, or return the default. Raises SettingError when the text is invalid."""
        if text is None or (self.blank and not text):
            return self.default()
        try:
            return self.parse(text)
        except ValueError:
            raise SettingError(f"the setting {self.key} is {text!r}; it must be {self.requirement}") from None

    def clean(self, text: str) -> str:
        """Return the text in its stored form. Raises SettingError when it is invalid."""
        text = text.strip()
        if not text:
            if self.blank:
                return ""
            raise SettingError("A value is required.")
        try:
            self.parse(text)
        except ValueError:
            raise SettingError(f"It must be {self.requirement}.") from None
        return text


class DecimalSetting(LiveSetting[Decimal]):
    """A number from `low` to `high`, with at most `places` decimals when given."""

    def __init__(
        self,
        key: str,
        low: Decimal | float,
        high: Decimal | float,
        *,
        default: Callable[[], Decimal],
        places: int | None = None,
        blank: bool = False,
    ) -> None:
        super().__init__(key, default=default, blank=blank)
        self.low, self.high, self.places = Decimal(str(low)), Decimal(str(high)), places
        decimals = "" if places is None else f" with at most {places} decimals"
        self.requirement = f"a number from {low} to {high}{decimals}"

    def parse(self, text: str) -> Decimal:
        number = parse_decimal(text)
        if not self.low <= number <= self.high or (self.places is not None and number != round(number, self.places)):
            raise ValueError(text)
        return number


class LimitSetting(LiveSetting[Decimal | None]):
    """A number of at least zero with at most `places` decimals; None, no limit, when it is stored blank."""

    def __init__(self, key: str, *, default: int, places: int = 2) -> None:
        super().__init__(key, default=lambda: Decimal(default), blank=True)
        self.number = DecimalSetting(key, 0, 10**9, default=lambda: Decimal(default), places=places)
        self.registry[key] = self
        self.requirement = f"{self.number.requirement}, or blank"

    def parse(self, text: str) -> Decimal:
        return self.number.parse(text)

    def value_of(self, text: str | None) -> Decimal | None:
        return None if text == "" else super().value_of(text)


class IntegerSetting(LiveSetting[int]):
    """A whole number from `low` to `high`."""

    def __init__(self, key: str, low: int, high: int, *, default: Callable[[], int], blank: bool = False) -> None:
        super().__init__(key, default=default, blank=blank)
        self.low, self.high = low, high
        self.requirement = f"a whole number from {low} to {high}"

    def parse(self, text: str) -> int:
        number = parse_decimal(text)
        if number != int(number) or not self.low <= number <= self.high:
            raise ValueError(text)
        return int(number)


class BooleanSetting(LiveSetting[bool]):
    """Either "true" or "false"; the legacy system also stored "1" and "0"."""

    requirement = "true or false"

    def parse(self, text: str) -> bool:
        try:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        except KeyError:
            raise ValueError(text) from None

    def clean(self, text: str) -> str:
        return super().clean(text).lower()


class ChoiceSetting(LiveSetting[str]):
    """One of a few words."""

    def __init__(self, key: str, choices: tuple[str, ...], *, default: Callable[[], str], blank: bool = False) -> None:
        super().__init__(key, default=default, blank=blank)
        self.choices = choices
        self.requirement = " or ".join(choices)

    def parse(self, text: str) -> str:
        if text not in self.choices:
            raise ValueError(text)
        return text


def stored_values(*settings: LiveSetting[Any]) -> list[str | None]:
    """Return the stored texts with one query, for `value_of`; None where nothing is stored."""
    with connection.cursor() as cursor:
        keys = [setting.key for setting in settings]
        cursor.execute("SELECT key, trim(value) FROM admin_settings WHERE key = ANY (%s)", [keys])
        stored = dict(cursor.fetchall())
    return [stored.get(key) for key in keys]


def current_values(*settings: LiveSetting[Any]) -> list[Any]:
    """Return the values with one query. Raises SettingError when a stored one is invalid."""
    return [setting.value_of(text) for setting, text in zip(settings, stored_values(*settings), strict=True)]
