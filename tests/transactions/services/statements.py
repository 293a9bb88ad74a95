"""Helpers of tests that import statements."""

from collections.abc import Sequence

from django.core.files.base import ContentFile

from transactions.models import StatementImport, Transaction, User
from transactions.services.ingest import ingest_statement_file, upload_statement

_OFX_HEAD = "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\n\n<OFX><BANKMSGSRSV1>"
_OFX_LIST = (
    "<STMTTRNRS><STMTRS><CURDEF>{currency}<BANKACCTFROM><BANKID>1<ACCTID>{account}<ACCTTYPE>CHECKING</BANKACCTFROM>"
    "<BANKTRANLIST>{rows}</BANKTRANLIST></STMTRS></STMTTRNRS>"
)
_OFX_ROW = "<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>{day}120000<TRNAMT>{amount}<FITID>{fitid}<NAME>{name}{more}</STMTTRN>"

OfxRow = tuple[str, str, str, str] | tuple[str, str, str, str, str]


def ofx(*rows: OfxRow, account: str = "0001111", currency: str = "USD") -> str:
    """Return an OFX file of one account; a row is (day, amount, FITID, NAME, more fields)."""
    return f"{_OFX_HEAD}{ofx_list(*rows, account=account, currency=currency)}</BANKMSGSRSV1></OFX>"


def ofx_list(*rows: OfxRow, account: str = "0001111", currency: str = "USD") -> str:
    """Return the statement of one account within an OFX file."""
    names = ("day", "amount", "fitid", "name", "more")
    text = "".join(_OFX_ROW.format(**dict.fromkeys(names, "") | dict(zip(names, row, strict=False))) for row in rows)
    return _OFX_LIST.format(currency=currency, account=account, rows=text)


def ofx_file(*lists: str) -> str:
    """Return an OFX file with the statements of several accounts."""
    return f"{_OFX_HEAD}{''.join(lists)}</BANKMSGSRSV1></OFX>"


def import_statement(
    user: User, content: str | bytes, filename: str = "bank.csv", *, account: str = "", **answers: str
) -> StatementImport:
    """Upload and import a file."""
    data = content.encode() if isinstance(content, str) else content
    imported = upload_statement(
        user=user,
        filename=filename,
        content=ContentFile(data),
        requested_by=user,
        account=account,
        answers=answers,
        send=False,
        limited=False,
    )
    return ingest_statement_file(statement_id=imported.pk)


def stored_rows(user: User) -> list[tuple[str, str, str]]:
    """Return day, amount and status of the customer's rows."""
    rows = Transaction.objects.filter(user=user).order_by("date", "amount", "id")
    return [(f"{row.date:%Y-%m-%d}", str(row.amount), row.status) for row in rows]


def counts(imported: StatementImport) -> Sequence[int]:
    """Return how many rows were added, known before, and rejected."""
    return imported.rows_added, imported.rows_duplicate, imported.rows_rejected
