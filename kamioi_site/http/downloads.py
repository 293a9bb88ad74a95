"""Long downloads line by line, and figures that are pushed to pages as they change, under WSGI and ASGI alike."""

import asyncio
import csv
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from kamioi_site.pagination import Keyset

_LINES_AT_ONCE: Final = 500
_ROWS_AT_ONCE: Final = 2_000
_PIECE: Final = 64 * 1024
LOOK_SECONDS: Final = 3.0
HEARTBEAT_SECONDS: Final = 15.0
# A stream ends after this long and the browser opens the next one: logged-out people lose it, restarts are not held up.
STREAM_SECONDS: Final = 300.0
_RETRY_MILLISECONDS: Final = 3_000

# A spreadsheet runs a cell that begins with one of these.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_line(cells: Iterable[Any]) -> str:
    """One line of a CSV file; None is an empty cell. Text that a spreadsheet would run as a formula is quoted with `'`."""
    out = io.StringIO()
    csv.writer(out).writerow(
        "'" + cell if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in cells
    )
    return out.getvalue()


def csv_download(request: HttpRequest, lines: Iterator[str], *, filename: str) -> StreamingHttpResponse:
    """The lines as a file to keep.

    Under ASGI Django would read a synchronous iterator to its end before it sends the first byte; so it gets an
    asynchronous one there, which takes some lines at a time.
    """
    content: Iterator[str] | AsyncIterator[str] = _taken(lines) if isinstance(request, ASGIRequest) else lines
    return StreamingHttpResponse(
        content,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "X-Accel-Buffering": "no"},
    )


def file_download(
    request: HttpRequest, file: IO[bytes], *, filename: str, size: int, content_type: str
) -> StreamingHttpResponse:
    """A stored file, piece by piece; closed at the end. It is the caller's own, so nobody in between keeps it."""
    pieces = _pieces(file)
    content: Iterator[bytes] | AsyncIterator[bytes] = (
        _piece_by_piece(pieces) if isinstance(request, ASGIRequest) else pieces
    )
    return StreamingHttpResponse(
        content,
        content_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{filename}"',
            "Content-Length": str(size),
            "Cache-Control": "private, no-store",
            "X-Accel-Buffering": "no",
        },
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


async def _piece_by_piece(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    take = sync_to_async(lambda: next(pieces, b""))
    while piece := await take():
        yield piece


async def _taken(lines: Iterator[str]) -> AsyncIterator[str]:
    take = sync_to_async(lambda: "".join(islice(lines, _LINES_AT_ONCE)))
    while piece := await take():
        yield piece


def rows_in_pages(
    rows: QuerySet[Any, Any], columns: Sequence[str], *, order: Sequence[str], size: int = _ROWS_AT_ONCE
) -> Iterator[tuple[Any, ...]]:
    """The columns of every row of `rows`, in that order, each page a query of its own.

    Memory is that of one page, no connection is held in between, and no cursor on the server is needed: under
    PgBouncer's transaction pooling there is none, and `QuerySet.iterator` would fetch everything at once.

    Args:
        order: fields without nulls, descending with `-`, the last one unique. An index should serve it.
    """
    keyset = Keyset(*order)
    wanted = rows.order_by(*order).values_list(*columns, *keyset.names)
    after = Q()
    while True:
        page = list(wanted.filter(after)[:size])
        for row in page:
            yield row[: len(columns)]
        if len(page) < size:
            return
        after = keyset.after(page[-1][len(columns) :])


def live_figures(
    request: HttpRequest,
    figures: Callable[[], dict[str, Any]],
    *,
    done: Callable[[dict[str, Any]], bool] = lambda _: False,
    every: float = LOOK_SECONDS,
) -> StreamingHttpResponse:
    """Server-sent events: the figures now, and again whenever they changed; the stream ends with figures that are `done`.

    `figures` must be cheap (cached): it is asked every few seconds by everybody who looks. No database connection is held
    in between. Under WSGI, where a stream would hold a thread, one event is sent and the browser asks again.
    """
    content = _pushed(figures, done, every) if isinstance(request, ASGIRequest) else iter([_event(figures())])
    return StreamingHttpResponse(
        content, content_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _event(data: dict[str, Any]) -> str:
    return f"retry: {_RETRY_MILLISECONDS}\ndata: {json.dumps(data, default=str)}\n\n"


async def _pushed(
    figures: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], bool], every: float
) -> AsyncIterator[str]:
    def look() -> dict[str, Any]:
        try:
            return figures()
        finally:
            connection.close()  # back to the pool, until the next look

    end, told_at, told = time.monotonic() + STREAM_SECONDS, 0.0, None
    while time.monotonic() < end:
        now = await sync_to_async(look)()
        if now != told:
            told, told_at = now, time.monotonic()
            yield _event(now)
            if done(now):
                return
        elif time.monotonic() - told_at > HEARTBEAT_SECONDS:
            told_at = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(min(every, LOOK_SECONDS))
