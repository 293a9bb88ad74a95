"""The layout of report PDFs: headings, statistics and tables of any length on US letter pages, with reportlab.

Table rows are read page by page while the document is built, so a long table never exists as a whole.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import IO, Any, Final
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.pagesizes import letter
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    NextPageTemplate,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

WIDTH, HEIGHT = letter
MARGIN: Final = 46
BOTTOM: Final = 58
HEADER: Final = 38  # height of the header on the first page
ROW: Final = 15
INNER: Final = WIDTH - 2 * MARGIN
REGULAR, BOLD = "Helvetica", "Helvetica-Bold"
# Fonts with more letters than the standard PDF fonts; they come with reportlab.
_FALLBACK: Final = {REGULAR: "Vera", BOLD: "VeraBd"}
INK, GREY, LINE = HexColor("#111827"), HexColor("#6b7280"), HexColor("#e5e7eb")
STRIPE, BRAND = HexColor("#f9fafb"), HexColor("#6d28d9")
_TEXT: Final = ParagraphStyle("text", fontName=REGULAR, fontSize=9, leading=13, textColor=GREY, spaceBefore=6)
_HEADING: Final = ParagraphStyle(
    "heading", fontName=BOLD, fontSize=12, leading=14, textColor=INK, spaceBefore=12, spaceAfter=5
)
_PAGE_COUNT: Final = "page_count"  # a form that every page draws and that is defined at the end


@dataclass(frozen=True, slots=True)
class Column:
    """A table column; `width` in points. Numbers are right-aligned and never truncated."""

    title: str
    width: float
    number: bool = False


class ReportPdf:
    """A PDF document; `build` reads the rows of its tables and writes the file."""

    def __init__(self, file: IO[bytes], *, title: str, subject: str, footer: str) -> None:
        self._title, self._subject, self._footer = title, subject, footer
        self._document = BaseDocTemplate(
            file, pagesize=letter, title=f"Kamioi: {title}, {subject}", author="Kamioi", creator="Kamioi"
        )
        height = HEIGHT - MARGIN - BOTTOM
        self._document.addPageTemplates(
            [
                PageTemplate(
                    "first", Frame(MARGIN, BOTTOM, INNER, height - HEADER, 0, 0, 0, 0), onPage=self._first_page
                ),
                PageTemplate("later", Frame(MARGIN, BOTTOM, INNER, height, 0, 0, 0, 0), onPage=self._later_page),
            ]
        )
        self._story: list[Flowable] = [NextPageTemplate("later")]

    def heading(self, text: str) -> None:
        """Add a heading that is never the last line of a page."""
        self._story += [CondPageBreak(34 + 3 * ROW), Paragraph(_markup(text, BOLD), _HEADING)]

    def paragraph(self, text: str) -> None:
        self._story.append(Paragraph(_markup(text, REGULAR), _TEXT))

    def address(self, lines: Sequence[str], details: Sequence[tuple[str, str]]) -> None:
        """Add the recipient, and details about the document beside it."""
        lines = [line for line in lines if line]
        count = max(len(lines), len(details))
        rows = [
            [lines[n] if n < len(lines) else "", *(details[n] if n < len(details) else ("", ""))] for n in range(count)
        ]
        style: list[Any] = [
            *_fonts(rows, REGULAR),
            ("FONTSIZE", (0, 0), (0, -1), 10),
            ("TEXTCOLOR", (1, 0), (1, -1), GREY),
            ("ALIGN", (2, 0), (2, -1), "RIGHT"),
            *((name, (0, 0), (-1, -1), 0) for name in ("LEFTPADDING", "RIGHTPADDING")),
            *_fonts(rows[:1], BOLD, columns=1),
        ]
        widths = [INNER * 0.55, INNER * 0.2, INNER * 0.25]
        self._story += [Spacer(0, 8), _table(rows, widths, style, size=9, row_height=14), Spacer(0, 6)]

    def stats(self, stats: Sequence[tuple[str, str]]) -> None:
        """Add the key numbers, four in a row."""
        for start in range(0, len(stats), 4):
            labels, values = zip(*[*stats[start : start + 4], *[("", "")] * 3][:4], strict=True)
            style: list[Any] = [
                ("BACKGROUND", (0, 0), (-1, -1), STRIPE),
                ("ROUNDEDCORNERS", [4, 4, 4, 4]),
                ("TEXTCOLOR", (0, 0), (-1, 0), GREY),
                *_fonts([labels, values], REGULAR),
                ("FONTNAME", (0, 1), (-1, 1), BOLD),
                ("FONTSIZE", (0, 1), (-1, 1), 13),
                ("LEFTPADDING", (0, 0), (-1, -1), 12),
                ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ]
            self._story += [Spacer(0, 6), _table([labels, values], [INNER / 4] * 4, style, row_height=23)]
        self._story.append(Spacer(0, 4))

    def table(
        self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, total: Sequence[str] | None = None
    ) -> "PagedTable":
        """Add a table; its rows are read, and counted in `count`, when the document is built."""
        table = PagedTable(columns, rows, total)
        self._story += [CondPageBreak(3 * ROW), table, Spacer(0, 6)]
        return table

    def build(self) -> int:
        """Write the file; returns the number of pages."""
        self._document.build(self._story, canvasmaker=_CountingCanvas)
        return int(self._document.page)

    def _first_page(self, canvas: Canvas, document: BaseDocTemplate) -> None:
        self._later_page(canvas, document)
        y = HEIGHT - MARGIN
        canvas.setFillColor(BRAND)
        canvas.roundRect(MARGIN, y - 24, 26, 26, 6, stroke=0, fill=1)
        canvas.setStrokeColor(white)
        canvas.setLineWidth(2.4)
        canvas.setLineCap(1)
        for x1, y1, x2, y2 in ((8, 5, 8, 17), (18, 5, 8.5, 11.5), (12, 10, 18, 17)):
            canvas.line(MARGIN + x1, y - y1, MARGIN + x2, y - y2)
        _draw(canvas, MARGIN + 34, y - 13, "Kamioi", BOLD, 18, INK)
        _draw(canvas, MARGIN + 34, y - 24, "Own what you buy", REGULAR, 8, GREY)
        _draw(canvas, WIDTH - MARGIN, y - 13, self._title, BOLD, 14, INK, right=True)
        _draw(canvas, WIDTH - MARGIN, y - 26, self._subject, REGULAR, 10, GREY, right=True)
        _rule(canvas, y - HEADER)

    def _later_page(self, canvas: Canvas, document: BaseDocTemplate) -> None:
        _rule(canvas, 46)
        _draw(canvas, MARGIN, 32, self._footer, REGULAR, 8, GREY)
        x = WIDTH - MARGIN - stringWidth("0000", REGULAR, 8)
        _draw(canvas, x, 32, f"Page {canvas.getPageNumber()} of ", REGULAR, 8, GREY, right=True)
        canvas.saveState()
        canvas.translate(x, 32)
        canvas.doForm(_PAGE_COUNT)
        canvas.restoreState()


class PagedTable(Flowable):
    """A table that reads as many rows as fit on a page, and repeats its headings on every page."""

    def __init__(self, columns: Sequence[Column], rows: Iterable[Sequence[str]], total: Sequence[str] | None) -> None:
        super().__init__()
        self.count = 0
        self._columns, self._total = columns, total
        self._rows: Iterator[Sequence[str]] = iter(rows)
        self._buffer: list[Sequence[str]] = []

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        return width, height + 1  # never fits as a whole: `split` makes a table for each page

    def split(self, width: float, height: float) -> list[Flowable]:
        fit = int(height // ROW) - 1  # at least two, after a `CondPageBreak`
        self._buffer += islice(self._rows, fit + 1 - len(self._buffer))
        is_last = len(self._buffer) + (self._total is not None) <= fit
        # The total is never alone on a page.
        taken = len(self._buffer) if is_last else min(fit, len(self._buffer) - 1)
        rows, self._buffer = self._buffer[:taken], self._buffer[taken:]
        self.count += len(rows)
        if is_last:
            return [self._page(rows, self._total if self.count else None)]
        return [self._page(rows, None), CondPageBreak(3 * ROW), self]

    def _page(self, rows: list[Sequence[str]], total: Sequence[str] | None) -> Table:
        columns = self._columns
        if not rows:
            rows = [["None.", *[""] * (len(columns) - 1)]]
        cells = [
            [column.title for column in columns],
            *(
                [cell if c.number else _fit(cell, c.width - 6) for c, cell in zip(columns, row, strict=True)]
                for row in rows
            ),
            *([total] if total else []),
        ]
        style: list[Any] = [
            ("TEXTCOLOR", (0, 0), (-1, 0), GREY),
            ("LINEBELOW", (0, 0), (-1, 0), 0.6, LINE),
            ("ROWBACKGROUNDS", (0, 1), (-1, -1), (white, STRIPE)),
            *_fonts(cells, REGULAR),
            ("FONTNAME", (0, 0), (-1, 0), BOLD),
            ("FONTSIZE", (0, 0), (-1, 0), 7.5),
            *(("ALIGN", (n, 0), (n, -1), "RIGHT") for n, column in enumerate(columns) if column.number),
            # Between a number and a text that follows it.
            *(("RIGHTPADDING", (n, 0), (n, -1), 12) for n, c in enumerate(columns[:-1]) if c.number),
        ]
        if total:
            style += [("LINEABOVE", (0, -1), (-1, -1), 0.6, INK), ("FONTNAME", (0, -1), (-1, -1), BOLD)]
        return _table(cells, [column.width for column in columns], style)


class _CountingCanvas(Canvas):
    def save(self) -> None:
        """Define the form that every page draws after "Page … of"."""
        self.beginForm(_PAGE_COUNT)
        _draw(self, 0, 0, str(self.getPageNumber() - 1), REGULAR, 8, GREY)
        self.endForm()
        super().save()


def _table(
    rows: Sequence[Sequence[str]], widths: list[float], style: list[Any], *, size: float = 8, row_height: float = ROW
) -> Table:
    base: list[Any] = [
        ("FONTSIZE", (0, 0), (-1, -1), size),
        ("TEXTCOLOR", (0, 0), (-1, -1), INK),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        *((name, (0, 0), (-1, -1), 3) for name in ("LEFTPADDING", "RIGHTPADDING")),
        *((name, (0, 0), (-1, -1), 0) for name in ("TOPPADDING", "BOTTOMPADDING")),
    ]
    return Table([list(row) for row in rows], widths, row_height, style=[*base, *style], hAlign="LEFT")


def _draw(  # noqa: PLR0917  # like drawString
    canvas: Canvas, x: float, y: float, text: str, font: str, size: float, colour: Color, *, right: bool = False
) -> None:
    font, text = _drawable(text, font)
    canvas.setFont(font, size)
    canvas.setFillColor(colour)
    (canvas.drawRightString if right else canvas.drawString)(x, y, text)


def _rule(canvas: Canvas, y: float) -> None:
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.6)
    canvas.line(MARGIN, y, WIDTH - MARGIN, y)


# --- Fonts ------------------------------------------------------------------------------------------------------------
def _markup(text: str, font: str) -> str:
    font, text = _drawable(text, font)
    return f'<font name="{font}">{escape(text)}</font>'


def _fonts(rows: Sequence[Sequence[str]], font: str, *, columns: int | None = None) -> list[Any]:
    """Return the styles for this font, and for its fallback in cells that need it."""
    last = -1 if columns is None else columns - 1
    style: list[Any] = [("FONTNAME", (0, 0), (last, len(rows) - 1), font)]
    for y, row in enumerate(rows):
        for x, cell in enumerate(row[:columns]):
            name, _ = _drawable(cell, font)
            if name != font:
                style.append(("FONTNAME", (x, y), (x, y), name))
    return style


def _drawable(text: str, font: str) -> tuple[str, str]:
    """Return a font that has the letters of the text, and the text; a letter that no font has becomes `?`."""
    if text.isascii() and text.isprintable():
        return font, text
    text = " ".join(text.split())
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        fallback = _fallback(_FALLBACK.get(font, "Vera"))
        return fallback.fontName, "".join(_glyph(fallback, char) for char in text)
    return font, text


def _glyph(font: TTFont, char: str) -> str:
    """Return the character, its base letter without accents, or `?`, whichever the font has."""
    for candidate in (char, unicodedata.normalize("NFKD", char)[0]):
        if ord(candidate) in font.face.charToGlyph:
            return candidate
    return "?"


@lru_cache(maxsize=2)
def _fallback(name: str) -> TTFont:
    font = TTFont(name, f"{name}.ttf")
    pdfmetrics.registerFont(font)
    return font


def _fit(text: str, width: float, size: float = 8) -> str:
    """Truncate the text to the width, with an ellipsis."""
    font, text = _drawable(text, REGULAR)
    if stringWidth(text, font, size) <= width:
        return text
    while text and stringWidth(text + "…", font, size) > width:
        text = text[:-1]
    return text.rstrip() + "…"
