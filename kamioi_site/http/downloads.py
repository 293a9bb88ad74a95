"""Long downloads: CSV line by line and files chunk by chunk, under WSGI and ASGI alike."""

import csv
import io
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from kamioi_site.pagination import Keyset

ChunkT = TypeVar("ChunkT", str, bytes)

_LINES_PER_CHUNK: Final = 500
_ROWS_PER_PAGE: Final = 2_000
_CHUNK_BYTES: Final = 64 * 1024
# Spreadsheets evaluate cells that begin with one of these, or with a form of it such as the full-width `＝`.
_FORMULA: Final = frozenset("=+-@−")
_CONTROL: Final = ("\t", "\r", "\n")


def csv_line(cells: Iterable[Any]) -> str:
    """Return one line of CSV. None is an empty cell; text that a spreadsheet would evaluate gets a leading `'`."""
    out = io.StringIO()
    csv.writer(out).writerow(escape_formula(cell) if isinstance(cell, str) else cell for cell in cells)
    return out.getvalue()


def escape_formula(text: str) -> str:
    """Return text that a spreadsheet shows and does not evaluate. Blanks in front do not hide a formula."""
    if text[:1].isalnum():
        return text
    visible = next((letter for letter in text if unicodedata.category(letter)[0] not in "ZC"), "")
    is_formula = unicodedata.normalize("NFKC", visible)[:1] in _FORMULA if visible else False
    return f"'{text}" if is_formula or text.startswith(_CONTROL) else text


def csv_download(request: HttpRequest, lines: Iterator[str], *, filename: str) -> StreamingHttpResponse:
    """Stream lines as a CSV file."""
    chunks = iter(lambda: "".join(islice(lines, _LINES_PER_CHUNK)), "")
    return StreamingHttpResponse(
        _content(request, chunks, ""), content_type="text/csv; charset=utf-8", headers=_headers(filename)
    )


def file_download(
    request: HttpRequest, file: IO[bytes], *, filename: str, size: int, content_type: str
) -> StreamingHttpResponse:
    """Stream a stored file and close it."""
    return StreamingHttpResponse(
        _content(request, _file_chunks(file), b""),
        content_type=content_type,
        headers=_headers(filename) | {"Content-Length": str(size)},
    )


def _headers(filename: str) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="{filename}"',
        "Cache-Control": "private, no-store",  # no cache may keep it, because it belongs to the caller
        "X-Accel-Buffering": "no",
    }


def _file_chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _content(request: HttpRequest, chunks: Iterator[ChunkT], end: ChunkT) -> Iterator[ChunkT] | AsyncIterator[ChunkT]:
    """Return an asynchronous iterator under ASGI, where Django would read a synchronous one to its end."""
    return _in_threads(lambda: next(chunks, end)) if isinstance(request, ASGIRequest) else chunks


async def _in_threads(read: Callable[[], ChunkT]) -> AsyncIterator[ChunkT]:
    read_async = sync_to_async(read)
    while chunk := await read_async():
        yield chunk


def rows_in_pages(
    rows: QuerySet[Any, Any], columns: Sequence[str], *, order: Sequence[str], size: int = _ROWS_PER_PAGE
) -> Iterator[tuple[Any, ...]]:
    """Yield the columns of every row in this order, one query per page.

    Memory is that of one page, and neither a connection nor a server-side cursor is held between pages. PgBouncer's
    transaction pooling has no such cursors, and there `QuerySet.iterator` would fetch everything at once.

    Args:
        rows: the rows.
        columns: the columns to yield.
        order: fields without nulls, descending with `-`, the last one unique. An index should serve it.
        size: rows of a page.
    """
    keyset = Keyset(*order)
    ordered = rows.order_by(*order).values_list(*columns, *keyset.names)
    after = Q()
    while True:
        page = list(ordered.filter(after)[:size])
        for row in page:
            yield row[: len(columns)]
        if len(page) < size:
            return
        after = keyset.after(page[-1][len(columns) :])
