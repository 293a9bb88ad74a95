"""Which column of a file has which role, by its heading or, without a header, by its content."""

import itertools
import re
import tomllib
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Final

from transactions.statements.row_classes import Direction, pair_of, word_direction
from transactions.statements.values import UnreadableFieldError, cents_of, looks_like_amount, parse_date

_data = tomllib.loads((Path(__file__).parent / "data" / "headings.toml").read_text(encoding="utf-8"))
_HEADINGS: Final[dict[str, list[str]]] = {role: keys.split() for role, keys in _data.items()}
_DIRECTION: Final = _HEADINGS.pop("direction")
_SECURITY, _QUANTITY = (frozenset(line.split()) for line in _data["securities"].strip().splitlines())
_HEADINGS.pop("securities")
_MAX_COLUMNS: Final = 200  # a wider row is never a header: a line of commas must not cost minutes
_CENTS = re.compile(r"[-+(]*\$?[0-9][0-9,]*\.[0-9]{2}\)?")
# Headings of a number that the bank gives to one transaction only; others are of cheques, branches or batches.
UNIQUE_REFERENCE_KEYS: Final = frozenset(
    "transactionid transactionnumber transactionno transid txnid tranid trxid transactionhash fitid uniqueid".split()
)
_MONEY: Final = ("amount", "debit", "credit")


@dataclass(slots=True)
class Layout:
    """Where the columns are. `header_row` and `header_lines` are 0 without a header."""

    delimiter: str
    headings: list[str]
    roles: dict[str, int]
    header_row: int = 0
    header_lines: int = 0
    preamble: list[list[str]] = field(default_factory=list)
    # Columns with the same heading as the amount: which one is meant has to be asked.
    rivals: list[int] = field(default_factory=list)

    @property
    def width(self) -> int:
        return len(self.headings)

    @property
    def digest(self) -> str:
        """Identify the layout by its headings, whatever the delimiter; without a header by the number of columns."""
        names = [" ".join(heading.lower().split()) for heading in self.headings] if self.header_row else self.width
        return blake2b(repr(names).encode(), digest_size=12).hexdigest()


def heading_key(heading: str) -> str:
    """Return a heading as `headings.toml` spells it: without accents, blanks and punctuation."""
    key = re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", heading.lower()))
    return re.sub(r"(?<=[a-z])(?:inusd|usd|usdollars|usdollar|indollars)$", "", key)


def match_headings(headings: Sequence[str]) -> dict[str, int]:
    """Return role → position for the known headings."""
    if len(headings) > _MAX_COLUMNS:
        return {}
    positions: dict[str, int] = {}
    for position, heading in enumerate(headings):
        positions.setdefault(heading_key(heading), position)
    positions.pop("", None)
    roles: dict[str, int] = {}
    for role, keys in _HEADINGS.items():
        for key in keys:
            if key in positions and positions[key] not in roles.values():
                roles[role] = positions[key]
                break
    return roles


def is_header(roles: dict[str, int]) -> bool:
    return "date" in roles and any(role in roles for role in _MONEY)


def find_heading(headings: Sequence[str], keys: Collection[str]) -> int:
    """Return the first column with one of these headings, as `headings.toml` spells them; -1 without any."""
    return next((at for at, heading in enumerate(headings) if heading_key(heading) in keys), -1)


def fit_width(cells: list[str], width: int) -> list[str]:
    """Return exactly `width` cells: banks omit empty ones at the end, or add a delimiter."""
    return cells[:width] + [""] * (width - len(cells))


def lists_securities(headings: Sequence[str]) -> bool:
    """Whether the columns are those of a brokerage account."""
    keys = {heading_key(heading) for heading in headings}
    return bool(keys & _SECURITY) and bool(keys & _QUANTITY)


def best_date_column(layout: Layout, rows: list[list[str]]) -> int:
    """Return the date column that most rows fill; the best heading among equals."""
    keys = _HEADINGS["date"]
    found = {heading_key(heading): at for at, heading in reversed(list(enumerate(layout.headings)))}
    columns = [found[key] for key in keys if key in found]
    return max(columns, key=lambda at: sum(len(row) > at and bool(row[at].strip()) for row in rows))


def rivals_of(headings: Sequence[str], position: int) -> list[int]:
    """Return the positions of all columns with the heading of this one, if there are several."""
    key = heading_key(headings[position])
    same = [number for number, heading in enumerate(headings) if heading_key(heading) == key]
    return same if len(same) > 1 else []


def direction_candidates(layout: Layout) -> tuple[list[int], list[int]]:
    """Return the free columns whose heading is that of a direction, best first, and the other free columns."""
    taken = {position for role, position in layout.roles.items() if role not in ("category", "status", "description")}
    free = [position for position in range(layout.width) if position not in taken]
    keys = {heading_key(heading): position for position, heading in reversed(list(enumerate(layout.headings)))}
    # A sign as heading, or several headings in one: "+/-", "Money In / Money Out".
    named = [position for position, heading in enumerate(layout.headings) if heading.strip() in ("+/-", "-/+", "±")]
    named += [keys[key] for key in _DIRECTION if keys.get(key) in free]
    return named, [position for position in free if position not in named]


# --- Files without a header -------------------------------------------------------------------------------------------
def guess_layout(rows: list[list[str]], delimiter: str, today: date) -> Layout | None:
    """Return the layout of a file without a header; None when dates, money or text are missing.

    The roles of two or more columns of numbers follow from the arithmetic of a running balance. Where nothing proves
    them, `rivals` lists the columns among which the amount has to be chosen.
    """
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    if not rows or width > _MAX_COLUMNS:
        return None
    columns = [[row[position] if position < len(row) else "" for row in rows] for position in range(width)]
    dates = [
        position
        for position, cells in enumerate(columns)
        if sum(_is_date(cell, today) for cell in cells) >= 0.8 * len(cells)
    ]
    money = [
        position
        for position, cells in enumerate(columns)
        if position not in dates and any(cells) and all(looks_like_amount(cell) for cell in cells if cell)
    ]
    if decimal := [position for position in money if any(re.search(r"[.,]\d\d\b", cell) for cell in columns[position])]:
        money = decimal  # whole numbers beside amounts with cents are numbers of cheques or accounts
    filled = [position for position in money if sum(map(bool, columns[position])) >= 0.8 * len(rows)]
    if not filled and not money:  # a bad row or two among the amounts
        money = filled = [
            position
            for position, cells in enumerate(columns)
            if position not in dates and sum(map(looks_like_amount, cells)) >= 0.8 * len(rows)
        ]
    letters = {
        position: sum(sum(map(str.isalpha, cell)) for cell in cells)
        for position, cells in enumerate(columns)
        if position not in dates and position not in money
    }
    if not dates or not money or not any(letters.values()):
        return None
    text = max(letters, key=lambda position: letters[position])
    roles = {"date": dates[0], "description": text}
    headings = [f"column {number}" for number in range(1, width + 1)]
    layout = Layout(delimiter, headings, roles)
    if len(money) == 1:
        roles["amount"] = money[0]
        return layout
    found = _roles_by_balance(columns, money, columns[dates[0]], _directions(columns))
    if found:
        roles |= found
    else:
        layout.rivals = filled or money
        roles["amount"] = layout.rivals[0]
    return layout


def _is_date(text: str, today: date) -> bool:
    for order in ("mdy", "dmy"):
        try:
            parse_date(text, order=order, today=today)
        except UnreadableFieldError:
            continue
        return True
    return False


def _directions(columns: list[list[str]]) -> list[Direction]:
    """Return the ways the money went, by the first column that shows nothing else; empty without one."""
    for cells in columns:
        pair = pair_of(cells)
        ways = [direction_of(cell, pair) for cell in cells]
        if set(ways) == {"out", "in"}:
            return ways
    return []


def _roles_by_balance(
    columns: list[list[str]], money: list[int], days: list[str], ways: Sequence[Direction]
) -> dict[str, int]:
    """Return the roles of amount or debit and credit, and balance, that the arithmetic of the balance proves."""
    cents = {position: [cents_of(cell) for cell in columns[position]] for position in money}
    proven: list[dict[str, int]] = []
    for balance in money:
        for amount in money:
            if amount == balance:
                continue
            moved = [signed_cents(value, way) for value, way in zip(cents[amount], ways, strict=False)]
            if balance_sign(cents[amount], cents[balance], days) or (
                moved and balance_sign(moved, cents[balance], days) == 1
            ):
                proven.append({"amount": amount, "balance": balance})
            for credit in money:
                if credit in (amount, balance):
                    continue
                pairs = list(zip(cents[amount], cents[credit], strict=True))
                if any(debit and received for debit, received in pairs):
                    continue
                moves = [abs(received or 0) - abs(debit or 0) for debit, received in pairs]
                if any(debit for debit, _ in pairs) and balance_sign(moves, cents[balance], days) == 1:
                    proven.append({"debit": amount, "credit": credit, "balance": balance})
    best = [roles for roles in proven if "debit" in roles] or proven
    return best[0] if len(best) == 1 else {}


def direction_of(cell: str, pair: tuple[str, str] | None) -> Direction:
    """Return the direction that a cell of the direction column shows."""
    if pair is None:
        return word_direction(cell)
    value = cell.strip().lower()
    return "out" if value == pair[0] else "in" if value == pair[1] else ""


def signed_cents(cents: int | None, way: Direction) -> int | None:
    """Return an amount without a sign as the change of a balance."""
    return cents if cents is None or not way else abs(cents) if way == "in" else -abs(cents)


def balance_sign(amounts: Sequence[int | None], balances: Sequence[int | None], days: Sequence[str] = ()) -> int:
    """Return 1 when each amount is added to the running balance, -1 when it is subtracted, 0 when neither is proven.

    The order of the rows does not matter: the balance before each row must be the balance after another one, but for
    the first row. Where the rows of a day are in another order than their balances, the sums of the days must fit.
    """
    pairs = [
        (amount, balance)
        for amount, balance in zip(amounts, balances, strict=True)
        if amount is not None and balance is not None and amount
    ]
    if len(pairs) < 2:
        return 0
    after = {balance for _, balance in pairs}
    signs = [sign for sign in (1, -1) if sum(balance - sign * amount not in after for amount, balance in pairs) <= 1]
    if not signs and days:
        signs = [sign for sign in (1, -1) if _fits_by_day(amounts, balances, days, sign)]
    return signs[0] if len(signs) == 1 else 0


def _fits_by_day(amounts: Sequence[int | None], balances: Sequence[int | None], days: Sequence[str], sign: int) -> bool:
    """Whether the sum of each day leads from a balance of the day before to one of its own, in either order."""
    sums: dict[str, int] = {}
    found: dict[str, set[int]] = {}
    for day, amount, balance in zip(days, amounts, balances, strict=True):
        if amount is None or balance is None:
            return False
        sums[day] = sums.get(day, 0) + sign * amount
        found.setdefault(day, set()).add(balance)
    for order in (list(sums), list(sums)[::-1]):
        steps = itertools.pairwise(order)
        if len(order) > 1 and all(
            any(before + sums[day] in found[day] for before in found[previous]) for previous, day in steps
        ):
            return True
    return False


def contradicted_rows(amounts: Sequence[int | None], balances: Sequence[int | None]) -> list[int]:
    """Return the positions of rows whose amount does not fit a balance that fits most rows; empty if it fits none."""
    pairs = [
        (position, amount, balance)
        for position, (amount, balance) in enumerate(zip(amounts, balances, strict=True))
        if amount and balance is not None
    ]
    after = {balance for _, _, balance in pairs}
    for sign in (1, -1):
        wrong = [position for position, amount, balance in pairs if balance - sign * amount not in after]
        fitting = len(pairs) - len(wrong)
        if 1 < len(wrong) <= fitting + 1:
            return wrong[1:] if wrong[0] == 0 else wrong[:-1]
    return []


def shifted_cell(layout: Layout, cells: Sequence[str]) -> int | None:
    """Return the column of a reference that contains an amount, so that the row's cells are shifted."""
    at = layout.roles.get("reference", -1)
    amount_at = layout.roles.get("amount", -1)
    return at if at > amount_at >= 0 and at < len(cells) and _CENTS.fullmatch(cells[at].strip()) else None


def find_direction(layout: Layout, rows: list[list[str]]) -> tuple[int, tuple[str, str] | None] | None:
    """Return the column that says which way the money went, and its pair of signs or letters (None: words)."""
    named, unnamed = direction_candidates(layout)
    for position in named + unnamed:
        cells = [row[position] for row in rows if position < len(row) and row[position].strip()]
        if len(cells) < max(1, len(rows) // 2):
            continue
        pair = pair_of(cells)
        known = [word_direction(cell) for cell in cells]
        has_both = len({cell.strip().lower() for cell in cells}) > 1 and (pair or set(known) == {"out", "in"})
        if position in unnamed and layout.header_row and not has_both:
            continue  # another heading needs more
        if pair or (2 * sum(map(bool, known)) >= len(cells) and (layout.header_row or all(known))):
            return position, pair
    return None
