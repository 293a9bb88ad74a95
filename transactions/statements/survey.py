"""The first pass over a CSV file: what its dates, amounts and words say about how to read it.

All distinct dates and amounts of the file are looked at, and the words and balances of the first `DETAIL_ROWS` rows.
Memory does not grow with the file.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final

from transactions.statements.accounts import account_kind
from transactions.statements.csv_layout import record_chunks
from transactions.statements.date_orders import decide_date_order
from transactions.statements.evidence import ASKED_AGAIN, Choice, Evidence, Question, decide_or_recall, reasons_for
from transactions.statements.layout import (
    Layout,
    balance_sign,
    contradicted_rows,
    direction_of,
    find_direction,
    find_heading,
    fit_width,
    heading_key,
    is_header,
    match_headings,
    shifted_cell,
    signed_cents,
)
from transactions.statements.row_classes import (
    CURRENCIES,
    Direction,
    is_balance_line,
    is_unposted,
    match_rule,
    unposted_reason,
)
from transactions.statements.values import (
    UnreadableFieldError,
    cents_of,
    is_dollars,
    parse_amount,
    shorten,
    uses_decimal_comma,
)

if TYPE_CHECKING:
    import _csv

DETAIL_ROWS: Final = 2_000
_MAX_DISTINCT: Final = 10_000
_MANY, _TIMES = 30, 20
SPENDING: Final = {"negative": "Negative amounts are money spent", "positive": "Positive amounts are money spent"}


@dataclass(slots=True)
class Interpretation:
    """How the file is read. `questions` are open: until they are answered, no row may be stored."""

    layout: Layout
    date_order: str = "mdy"
    decimal_comma: bool = False
    # "columns" (debit and credit), "direction" (a word or sign in each row) or "sign"
    spending_by: str = "sign"
    spending: str = "negative"
    debit_sign: int = 0
    credit_sign: int = 0
    direction_pair: tuple[str, str] | None = None
    evidence: dict[str, list[str]] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)


def interpret(
    layout: Layout,
    records: "_csv.Reader",
    *,
    today: date,
    answers: Mapping[str, str],
    remembered: Callable[[], Mapping[str, str]],
    kind: str,
    is_sheet: bool,
) -> Interpretation:
    """Read the rows once and decide how to read them; what stays ambiguous becomes a question."""
    return _Survey(layout, today, answers, remembered, kind=kind, is_sheet=is_sheet).run(records)


class _Survey:
    def __init__(
        self,
        layout: Layout,
        today: date,
        answers: Mapping[str, str],
        remembered: Callable[[], Mapping[str, str]],
        *,
        kind: str,
        is_sheet: bool,
    ) -> None:
        self.layout, self.today, self.answers, self.is_sheet = layout, today, answers, is_sheet
        self.remembered = remembered
        self.result = Interpretation(layout)
        headings = layout.headings if layout.header_row else []
        self.kind = kind or account_kind(" ".join(itertools.chain(headings, *layout.preamble)))
        self.type_at = find_heading(headings, ("type", "transactiontype", "transtype"))
        self.rows: list[list[str]] = []
        self.dates: dict[str, None] = {}
        self.amounts: dict[str, set[str]] = {}
        self.moved: dict[int, int] = {}

    def run(self, records: "_csv.Reader") -> Interpretation:
        self._collect(records)
        self._choose_money_columns()
        self._find_currency()
        self._decide_date_order()
        roles = self.layout.roles
        money = [role for role in ("amount", "debit", "credit") if role in roles]
        self.result.decimal_comma = uses_decimal_comma(itertools.chain.from_iterable(self.amounts[r] for r in money))
        if "amount" in roles:
            self._decide_sign()
        else:
            self._decide_column_signs()
        self._check_balance()
        self._ask_for_columns()
        return self.result

    # --- Collecting ---------------------------------------------------------------------------------------------------
    def _collect(self, records: "_csv.Reader") -> None:
        roles, width = self.layout.roles, self.layout.width
        date_at = roles["date"]
        money = {role: roles[role] for role in ("amount", "debit", "credit") if role in roles}
        self.amounts = {role: set() for role in money}
        for chunk in record_chunks(records):
            rows = [row for row in self._in_first_order(chunk) if len(row) > date_at]
            if len(self.rows) < DETAIL_ROWS:
                fitted = (
                    fit_width(row, width)
                    for row in rows
                    if any(row) and not any(row[width:]) and not shifted_cell(self.layout, row)
                )
                self.rows += itertools.islice(fitted, DETAIL_ROWS - len(self.rows))
            if len(self.dates) < _MAX_DISTINCT:
                self.dates |= dict.fromkeys(row[date_at] for row in rows)
            for role, position in money.items():
                if len(self.amounts[role]) < _MAX_DISTINCT:
                    self.amounts[role] |= {row[position].strip() for row in rows if len(row) > position}

    def _in_first_order(self, rows: list[list[str]]) -> Iterator[list[str]]:
        """Yield the rows without repeated headers; the cells below one move to the columns of the first header."""
        for row in rows:
            if row and row[0][:1].isalpha() and is_header(roles := match_headings(row)):
                moves = {at: roles[role] for role, at in self.layout.roles.items() if role in roles}
                self.moved = moves if len(row) == self.layout.width and any(a != b for a, b in moves.items()) else {}
            elif self.moved and len(row) == self.layout.width:
                yield [row[self.moved.get(at, at)] for at in range(len(row))]
            else:
                yield row

    def _choose_money_columns(self) -> None:
        """Choose between an amount column and debit and credit columns where a file has both."""
        roles = self.layout.roles
        for role in ("debit", "credit"):
            if role in roles and "amount" in roles and not any(map(_is_money, self.amounts[role])):
                del roles[role]
        if "amount" not in roles:
            return
        if ("debit" in roles or "credit" in roles) and (
            ("debit" in roles and "credit" in roles) or not any(map(_is_money, self.amounts["amount"]))
        ):
            del roles["amount"]
        else:
            roles.pop("debit", None)
            roles.pop("credit", None)

    def _find_currency(self) -> None:
        """Take a column of nothing but currency codes for the currency, whatever its heading."""
        roles = self.layout.roles
        if "currency" in roles:
            return
        # The price in the shop's currency has two separate columns.
        keys = map(heading_key, self.layout.headings)
        originals = [at for at, key in enumerate(keys) if key.startswith(("original", "local", "foreign"))]
        originals = originals if len(originals) > 1 else []
        for position in range(self.layout.width):
            codes = {row[position].strip() for row in self.rows} - {""}
            if codes and codes <= CURRENCIES and position not in roles.values() and position not in originals:
                roles["currency"] = position
                return

    def _decide_date_order(self) -> None:
        date_at = self.layout.roles["date"]
        found = decide_date_order(
            list(self.dates),
            rows=[row[date_at] for row in self.rows],
            preamble=itertools.chain.from_iterable(self.layout.preamble),
            today=self.today,
            answer=self.answers.get("date_order", ""),
            remembered=self.remembered,
            is_sheet=self.is_sheet,
        )
        if isinstance(found, Question):
            self.result.questions.append(found)
            return
        self.result.date_order = found.order
        if found.reasons:
            self.result.evidence["date_order"] = found.reasons

    # --- Signs --------------------------------------------------------------------------------------------------------
    def _decide_sign(self) -> None:
        if answer := self.answers.get("spending"):
            self.result.spending = answer
            return
        signed = [(row, sign) for row in self.rows if (sign := self._sign(row, "amount"))]
        evidence = list(self._sign_evidence(signed))
        negative = any(sign < 0 for _, sign in signed)
        if found := find_direction(self.layout, self.rows):
            position, pair = found
            verdict = self._compare_with_directions(signed, position, pair)
            if verdict == "unsigned":
                self.layout.roles["direction"] = position
                self.result.spending_by, self.result.direction_pair = "direction", pair
                heading = self.layout.headings[position]
                self.result.evidence["spending"] = [f"the column “{heading}” says which way the money went"]
                return
            if verdict:
                evidence.append(Evidence("words beside the amount", verdict, self.layout.headings[position]))
        if not negative and self.kind == "card":
            evidence.append(Evidence("card", "positive"))
        decided = self._decide("spending", evidence)
        marked = any(_has_marker(text) for text in self.amounts["amount"])
        answered = "spending" in self.remembered()
        if decided is None and not answered and (marked or not signed):
            decided = "positive"  # DR and CR say what is spent; without a row nothing is stored
        if decided and not answered and self._says_all_is_received(decided, signed, evidence):
            decided = None
        if decided is None:
            self._ask_spending(signed)
            return
        self.result.spending = decided
        self.result.evidence["spending"] = reasons_for(decided, evidence)

    def _sign_evidence(self, signed: Sequence[tuple[list[str], int]]) -> Iterator[Evidence]:
        for row, sign in signed:
            direction, text = self._direction_of_words(row)
            if direction:
                yield Evidence("description", _spending_sign(direction, sign), shorten(text))
        negative, positive = any(sign < 0 for _, sign in signed), any(sign > 0 for _, sign in signed)
        plus = next((text for text in self.amounts["amount"] if "+" in (text[:1], text[-1:])), None)
        if plus and negative:
            yield Evidence("plus sign", "negative", plus)
        if negative and not positive:
            yield Evidence("only minus signs", "negative")
        # People pay many and are paid by few. Distinct payees count, not rows, and only where there is no doubt.
        payees: dict[int, set[str]] = {1: set(), -1: set()}
        for row, sign in signed:
            payees[sign].add(shorten(self._payee(row)))
        for sign, value in ((-1, "negative"), (1, "positive")):
            if positive and negative and len(payees[sign]) >= max(_MANY, _TIMES * len(payees[-sign])):
                yield Evidence("many payees", value, f"{len(payees[sign]):,}")
        # A growing balance is money in at a bank, and debt on a card.
        if self.kind == "bank" and (balance := self._balance_sign()):
            yield Evidence("running balance", "negative" if balance > 0 else "positive")

    def _says_all_is_received(
        self, decided: str, signed: Sequence[tuple[list[str], int]], evidence: Sequence[Evidence]
    ) -> bool:
        """Whether every amount would be money in because the words of some rows say so.

        More likely the amounts have no sign, and something that we do not know shows what is spent.
        """
        return (
            not any(_spends(sign, decided) for _, sign in signed)
            and {item.kind for item in evidence if item.answer == decided} == {"description"}
            and any(not self._direction_of_words(row)[0] for row, _ in signed)
        )

    def _direction_of_words(self, row: list[str]) -> tuple[Direction, str]:
        text = " ".join(filter(None, (self._cell(row, role) for role in ("merchant", "description", "memo"))))
        type_text = row[self.type_at] if self.type_at >= 0 else ""
        category = self._cell(row, "category")
        rule = match_rule(text, type_text, category)
        if rule is None or not rule.direction or rule.row_class == "balance":
            return "", ""
        return rule.direction, text or type_text or category

    def _compare_with_directions(
        self, signed: Sequence[tuple[list[str], int]], position: int, pair: tuple[str, str] | None
    ) -> str:
        """Return the sign of spending that the words agree on; "unsigned" where only they say it; empty if neither."""
        by_direction: dict[str, set[int]] = {"out": set(), "in": set()}
        for row, sign in signed:
            direction = direction_of(row[position], pair)
            if direction:
                by_direction[direction].add(sign)
        out, into = by_direction["out"], by_direction["in"]
        signs = {sign for _, sign in signed}
        if signs == {1} and ((out and into) or all(direction_of(row[position], pair) for row, _ in signed)):
            return "unsigned"
        if signs == {-1}:
            return "negative" if out and not into else ""
        if len(out) == 1 and len(into) == 1 and out != into:
            return "negative" if out == {-1} else "positive"
        if len(out) == 2 and len(into) == 1:  # reversed debits
            return "negative" if into == {1} else "positive"
        return ""

    def _ask_spending(self, signed: Sequence[tuple[list[str], int]]) -> None:
        samples = [(self._label(row), sign) for row, sign in signed[:3]]
        choices = tuple(
            Choice(
                value,
                label,
                tuple(f"{text} is {'spent' if _spends(sign, value) else 'received'}" for text, sign in samples),
            )
            for value, label in SPENDING.items()
        )
        self._ask("spending", "Which amounts are money spent?", choices)

    def _decide_column_signs(self) -> None:
        """Decide what a minus means in debit and credit columns; magnitudes without any are clear."""
        self.result.spending_by = "columns"
        roles = self.layout.roles
        headings = [self.layout.headings[roles[role]] for role in ("debit", "credit") if role in roles]
        self.result.evidence["spending"] = [" and ".join(f"the column “{heading}”" for heading in headings)]
        for role in ("debit", "credit"):
            if role not in roles:
                continue
            signed = [(row, sign) for row in self.rows if (sign := self._sign(row, role))]
            signs = {sign for _, sign in signed}
            if signs != {-1}:
                sign = 1
            else:
                # Some banks print debits with a minus; in others a minus takes a debit back.
                expected: Direction = "out" if role == "debit" else "in"
                against = [row for row, _ in signed if self._direction_of_words(row)[0] not in ("", expected)]
                sign = -1
                if against and not self._balance_sign():
                    if answer := self.answers.get("spending"):
                        sign = -1 if answer == "negative" else 1
                    else:
                        self._ask_spending(signed)
            if role == "debit":
                self.result.debit_sign = sign
            else:
                self.result.credit_sign = sign

    # --- Balance and columns ------------------------------------------------------------------------------------------
    def _money_and_balance(self) -> tuple[list[str], list[int | None], list[int | None]]:
        roles, comma, pair = self.layout.roles, self.result.decimal_comma, self.result.direction_pair
        days: list[str] = []
        if "balance" not in roles:
            return [], [], []
        amounts: list[int | None] = []
        balances: list[int | None] = []
        for row in self.rows:
            if not self._moves_balance(row):
                continue
            if "amount" in roles:
                way = direction_of(self._cell(row, "direction"), pair) if "direction" in roles else ""
                amounts.append(signed_cents(cents_of(row[roles["amount"]], european=comma), way))
            else:
                debit, credit = (cents_of(self._cell(row, role), european=comma) for role in ("debit", "credit"))
                amounts.append(abs(credit or 0) - abs(debit or 0) or None)
            balances.append(cents_of(row[roles["balance"]], european=comma))
            days.append(row[roles["date"]])
        return days, amounts, balances

    def _balance_sign(self) -> int:
        days, amounts, balances = self._money_and_balance()
        return balance_sign(amounts, balances, days)

    def _check_balance(self) -> None:
        """Ask before rows are stored whose amount contradicts the running balance."""
        days, amounts, balances = self._money_and_balance()
        if "balance" in self.answers or balance_sign(amounts, balances, days) or "amount" not in self.layout.roles:
            return
        if wrong := contradicted_rows(amounts, balances):
            rows = [row for row in self.rows if self._moves_balance(row)]
            samples = tuple(self._label(rows[position]) for position in wrong[:3])
            choice = Choice("ignore", "Import the amounts as written", samples)
            self._ask("balance", "The running balance contradicts the amount of some rows.", [choice])

    def _ask_for_columns(self) -> None:
        layout = self.layout
        if "columns" in self.answers or len(layout.rivals) < 2 or "amount" not in layout.roles:
            return
        columns = {at: tuple(row[at] for row in self.rows[:3]) for at in layout.rivals}
        if len(set(columns.values())) < 2:
            return
        choices = tuple(
            Choice(f"amount={at + 1}", f"Column {at + 1}, “{layout.headings[at]}”", samples)
            for at, samples in columns.items()
        )
        self._ask("columns", "Which column is the amount?", choices)

    def _decide(self, key: str, evidence: list[Evidence]) -> str | None:
        """Return the answer that the evidence or an earlier answer gives; None to ask."""
        remembered = self.remembered().get(key)
        decided = decide_or_recall(evidence, remembered)
        if remembered and decided:
            evidence.append(Evidence("remembered", remembered))
        return decided

    def _ask(self, key: str, text: str, choices: Iterable[Choice]) -> None:
        again = ASKED_AGAIN if key in self.remembered() else ""
        self.result.questions.append(Question(key, text + again, tuple(choices)))

    # --- Helpers ------------------------------------------------------------------------------------------------------
    def _cell(self, row: list[str], role: str) -> str:
        at = self.layout.roles.get(role, -1)
        return row[at].strip() if 0 <= at < len(row) else ""

    def _payee(self, row: list[str]) -> str:
        return self._cell(row, "merchant") or self._cell(row, "description")

    def _label(self, row: list[str]) -> str:
        money = next(filter(None, (self._cell(row, role) for role in ("amount", "debit", "credit"))), "")
        return f"{shorten(self._payee(row))} {money}"

    def _is_balance_row(self, row: list[str]) -> bool:
        return is_balance_line(self._payee(row))

    def _moves_balance(self, row: list[str]) -> bool:
        """Whether the row is a posted transaction of the account in dollars, which has one running balance."""
        return not (
            self._is_balance_row(row)
            or is_unposted(self._payee(row))
            or unposted_reason(self._cell(row, "status"))
            or not is_dollars(self._cell(row, "currency"))
        )

    def _sign(self, row: list[str], role: str) -> int:
        """Return the sign of a row's amount; 0 without one, for a balance line, or where DR or CR decides."""
        text = self._cell(row, role)
        if not text or self._is_balance_row(row):
            return 0
        try:
            value, marker = parse_amount(text, european=self.result.decimal_comma)
        except UnreadableFieldError:
            return 0
        return 0 if marker or not value else 1 if value > 0 else -1


def _is_money(text: str) -> bool:
    return any(char in "123456789" for char in text)


def _has_marker(text: str) -> bool:
    return text.upper().endswith(("DR", "CR")) or text.upper().startswith(("DR", "CR"))


def _spends(sign: int, spending: str) -> bool:
    return (sign < 0) == (spending == "negative")


def _spending_sign(direction: Direction, sign: int) -> str:
    return "negative" if (direction == "out") == (sign < 0) else "positive"
