"""A true statement, printed as any bank prints it: the reader returns the truth or a question, never anything else."""

import io
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from transactions.errors import StatementError, StatementQuestionsError
from transactions.statements.evidence import Evidence, decide
from transactions.statements.reader import parse_statement
from transactions.statements.values import StatementRow

TODAY = date(2026, 11, 27)
SHOPS = ["QUILL MARKET 12", "LANTERN CAFE", "RIDE CO", "ORCHARD #44", "TULIP CRAFTS", "BURGER HUT F1", "ALPHA LLC"]
MONEY_IN = ["PAYROLL ALPHA LLC", "MOBILE DEPOSIT", "REFUND TULIP CRAFTS", "ALPHA LLC", "PAYMENT - THANK YOU"]


@dataclass(frozen=True)
class TrueRow:
    """A row as it happened: positive cents are money spent."""

    day: date
    text: str
    cents: int


@st.composite
def statements(draw):
    days = draw(st.lists(st.integers(0, 200), min_size=1, max_size=8))
    rows = []
    for offset in sorted(days):
        spent = draw(st.booleans())
        text = draw(st.sampled_from(SHOPS if spent else MONEY_IN))
        cents = draw(st.integers(1, 400_000)) * (1 if spent else -1)
        rows.append(TrueRow(date(2026, 5, 1) + timedelta(days=offset), text, cents))
    return rows


DATES = ["%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d", "%d-%b-%Y", "%m-%d-%Y", "%m/%d/%y"]
LAYOUTS = ["bank", "card", "columns", "negative columns", "words", "letters", "codes", "marks"]


@dataclass(frozen=True)
class Printed:
    """How a bank prints its statements."""

    layout: str
    dates: str
    delimiter: str
    comma: bool
    balance: bool
    newest_first: bool
    header: bool

    def money(self, cents: int) -> str:
        text = f"{abs(cents) / 100:,.2f}"
        if self.comma:
            text = text.translate(str.maketrans(",.", ".,"))
        return f'"{"-" if cents < 0 else ""}{text}"'

    def cells(self, cents: int) -> list[str]:
        spent = cents > 0
        return {
            "bank": lambda: [self.money(-cents)],
            "card": lambda: [self.money(cents)],
            "columns": lambda: [self.money(cents), ""] if spent else ["", self.money(-cents)],
            "negative columns": lambda: [self.money(-cents), ""] if spent else ["", self.money(-cents)],
            "words": lambda: [self.money(abs(cents)), "Debit" if spent else "Credit"],
            "letters": lambda: [self.money(abs(cents)), "D" if spent else "C"],
            "codes": lambda: [self.money(abs(cents)), "ACH_DEBIT" if spent else "ACH_CREDIT"],
            "marks": lambda: [f'{self.money(abs(cents))[:-1]} {"DR" if spent else "CR"}"'],
        }[self.layout]()

    def headings(self) -> list[str]:
        money = {
            "columns": ["Debit", "Credit"],
            "negative columns": ["Debit", "Credit"],
            "words": ["Amount", "Type"],
            "letters": ["Amount", "Debit/Credit"],
            "codes": ["Amount", "Type"],
        }.get(self.layout, ["Amount"])
        return ["Date", "Description", *money, *(["Balance"] if self.balance else [])]

    def text(self, rows: list[TrueRow]) -> str:
        balance, lines = 500_000, []
        owed = self.layout == "card"  # a card prints what is owed
        for row in rows:
            balance += row.cents if owed else -row.cents
            cells = [row.day.strftime(self.dates), row.text, *self.cells(row.cents)]
            lines.append([*cells, *([self.money(balance)] if self.balance else [])])
        if self.newest_first:
            lines.reverse()
        if self.header:
            lines.insert(0, self.headings())
        return "\n".join(self.delimiter.join(line) for line in lines) + "\n"


printed = st.builds(
    Printed,
    layout=st.sampled_from(LAYOUTS),
    dates=st.sampled_from(DATES),
    delimiter=st.sampled_from([",", ";", "\t"]),
    comma=st.booleans(),
    balance=st.booleans(),
    newest_first=st.booleans(),
    header=st.sampled_from([True, True, True, False]),
)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(statements(), printed)
def test_a_printed_statement_is_read_back_or_asked_about(rows, bank):
    assume(any(row.cents > 0 for row in rows))  # amounts that all have a minus are taken for spending
    if bank.dates == "%d/%m/%Y":
        # Dates with slashes are American where nothing contradicts it, as on every statement of an American bank.
        days = {row.day for row in rows}
        assume(any(day.day > 12 for day in days) or (len(days) > 1 and len({day.month for day in days}) == 1))
    truth = Counter((row.day, row.cents) for row in rows)
    try:
        items = list(parse_statement(io.BytesIO(bank.text(rows).encode()), today=TODAY))
    except StatementQuestionsError:
        return
    except StatementError:
        assert not bank.header  # without a header a file may have too little to go by
        return
    read = Counter((row.date.date(), int(row.amount * 100)) for row in items if isinstance(row, StatementRow))
    assert read <= truth
    assert read.total() + sum(not isinstance(row, StatementRow) for row in items) == len(rows)


@given(
    st.lists(st.sampled_from(["plus sign", "running balance", "description", "words beside the amount"]), max_size=9)
)
def test_how_many_rows_say_something_never_decides(kinds):
    against = [Evidence(kind, "negative") for kind in kinds]
    assert decide([*against, Evidence("words beside the amount", "positive")]) in (
        ["positive"] if "words beside the amount" not in kinds else [None]
    )
