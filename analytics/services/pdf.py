"""Pages of a PDF: headings, figures and tables of any length, written from top to bottom.

Rows are drawn as they come and a finished page is compressed at once, so the memory that a table takes is that of its
compressed pages. The number of pages is known at the end only; the pages refer to it, and it is written last.
"""

import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reportlab.pdfbase.ttfonts import TTFont

LETTER: Final = (612.0, 792.0)  # points
MARGIN: Final = 46
BOTTOM: Final = 58
ROW: Final = 15
REGULAR, BOLD = "Helvetica", "Helvetica-Bold"
# Has letters that the fonts every reader brings have not; comes with reportlab.
_WIDE: Final = {REGULAR: "Vera", BOLD: "VeraBd"}
INK, GREY, LINE, STRIPE, BRAND = "#111827", "#6b7280", "#e5e7eb", "#f9fafb", "#6d28d9"
_PAGES: Final = "pages"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `width` in points. Numbers stand to the right and are never shortened."""

    title: str
    width: float
    number: bool = False


class PdfDocument:
    """A PDF in the making, in US letter size. `finish` writes it."""

    def __init__(self, file: IO[bytes], *, title: str, subject: str, foot: str) -> None:
        from reportlab.pdfgen.canvas import Canvas  # noqa: PLC0415  # only a report needs reportlab

        self._canvas = Canvas(file, pagesize=LETTER, pageCompression=1)
        self._canvas.setTitle(f"Kamioi: {title}, {subject}")
        self._canvas.setAuthor("Kamioi")
        self._canvas.setCreator("Kamioi")
        self._width, self._height = LETTER
        self._foot = foot
        self._y = 0.0
        self._pen: tuple[str, float, str] | None = None
        self._begin()
        self._top(title, subject)

    # --- parts --------------------------------------------------------------------------------------------------------
    def heading(self, text: str) -> None:
        """A heading that does not stand alone at the end of a page."""
        self._room(30 + 3 * ROW)
        self._y -= 22
        self._write(MARGIN, text, BOLD, 12, INK)
        self._y -= 8

    def paragraph(self, text: str, *, size: float = 9, colour: str = GREY) -> None:
        """Some lines of text."""
        for line in _lines(text, self._inner, size):
            self._room(size + 4)
            self._y -= size + 4
            self._write(MARGIN, line, REGULAR, size, colour)

    def address(self, left: Sequence[str], right: Sequence[tuple[str, str]]) -> None:
        """Who it is for, and beside it what it is about."""
        top = self._y
        for n, line in enumerate(line for line in left if line):
            self._y -= 14
            self._write(MARGIN, line, BOLD if n == 0 else REGULAR, 10, INK)
        bottom, self._y = self._y, top
        for label, value in right:
            self._y -= 14
            self._write(MARGIN + self._inner * 0.55, label, REGULAR, 9, GREY)
            self._right(MARGIN + self._inner, value, REGULAR, 9, INK)
        self._y = min(bottom, self._y) - 8

    def figures(self, figures: Sequence[tuple[str, str]]) -> None:
        """The most important numbers, four in a row."""
        wide = self._inner / 4
        for start in range(0, len(figures), 4):
            self._room(56)
            self._y -= 52
            self._area(STRIPE)
            self._canvas.roundRect(MARGIN, self._y, self._inner, 46, 4, stroke=0, fill=1)
            for n, (label, value) in enumerate(figures[start : start + 4]):
                self._write(MARGIN + 12 + n * wide, label, REGULAR, 8, GREY, up=30)
                self._write(MARGIN + 12 + n * wide, value, BOLD, 13, INK, up=12)
        self._y -= 4

    def table(
        self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, total: Sequence[str] | None = None
    ) -> int:
        """Rows under headings that every page repeats; returns how many there were."""
        self._room(3 * ROW)
        self._headings(columns)
        count = 0
        for row in rows:
            if self._y - ROW < BOTTOM:
                self._turn()
                self._headings(columns)
            if count % 2:
                self._area(STRIPE)
                self._canvas.rect(MARGIN, self._y - ROW, self._inner, ROW, stroke=0, fill=1)
            self._row(columns, row, REGULAR, INK)
            count += 1
        if not count:
            self._row(columns, ["None.", *[""] * (len(columns) - 1)], REGULAR, GREY)
        if total is not None and count:
            self._room(ROW)
            self._canvas.setStrokeColor(INK)
            self._canvas.line(MARGIN, self._y, MARGIN + self._inner, self._y)
            self._row(columns, total, BOLD, INK)
        self._y -= 6
        return count

    def finish(self) -> int:
        """Write the file; returns the number of pages."""
        pages = self._canvas.getPageNumber()
        self._end()
        self._canvas.beginForm(_PAGES)
        self._canvas.setFont(REGULAR, 8)
        self._canvas.setFillColor(GREY)
        self._canvas.drawString(0, 0, str(pages))
        self._canvas.endForm()
        self._canvas.save()
        return pages

    # --- pages --------------------------------------------------------------------------------------------------------
    @property
    def _inner(self) -> float:
        return self._width - 2 * MARGIN

    def _begin(self) -> None:
        self._pen = None  # a page begins with none
        self._y = self._height - MARGIN

    def _top(self, title: str, subject: str) -> None:
        canvas, y = self._canvas, self._height - MARGIN
        self._area(BRAND)
        canvas.roundRect(MARGIN, y - 24, 26, 26, 6, stroke=0, fill=1)
        canvas.setStrokeColor("white")
        canvas.setLineWidth(2.4)
        canvas.setLineCap(1)
        canvas.lines(
            [
                (MARGIN + 8, y - 5, MARGIN + 8, y - 17),
                (MARGIN + 18, y - 5, MARGIN + 8.5, y - 11.5),
                (MARGIN + 12, y - 10, MARGIN + 18, y - 17),
            ]
        )
        canvas.setLineWidth(0.6)
        canvas.setLineCap(0)
        self._y = y - 13
        self._write(MARGIN + 34, "Kamioi", BOLD, 18, INK)
        self._write(MARGIN + 34, "Own what you buy", REGULAR, 8, GREY, up=-11)
        self._right(MARGIN + self._inner, title, BOLD, 14, INK)
        self._right(MARGIN + self._inner, subject, REGULAR, 10, GREY, up=-13)
        self._y = y - 46
        canvas.setStrokeColor(LINE)
        canvas.line(MARGIN, self._y + 8, MARGIN + self._inner, self._y + 8)

    def _turn(self) -> None:
        self._end()
        self._begin()

    def _end(self) -> None:
        """The foot; then the page is put away, compressed."""
        from reportlab.pdfbase import pdfdoc  # noqa: PLC0415

        canvas = self._canvas
        canvas.setStrokeColor(LINE)
        canvas.line(MARGIN, 46, MARGIN + self._inner, 46)
        keep, self._y = self._y, 32
        self._write(MARGIN, self._foot, REGULAR, 8, GREY)
        number = f"Page {canvas.getPageNumber()} of "
        end = MARGIN + self._inner - _text_width("0000", REGULAR, 8)
        self._right(end, number, REGULAR, 8, GREY)
        self._y = keep
        canvas.saveState()
        canvas.translate(end, 32)
        canvas.doForm(_PAGES)
        canvas.restoreState()
        canvas.showPage()
        page = canvas._doc.Pages.pages[-1]  # type: ignore[attr-defined]  # nothing public leads there
        packed = pdfdoc.PDFStream(content=zlib.compress(page.stream.encode("latin-1")), filters=[])
        packed.dictionary["Filter"] = pdfdoc.PDFName("FlateDecode")
        page.Contents, page.stream = packed, None

    def _room(self, height: float) -> None:
        if self._y - height < BOTTOM:
            self._turn()

    # --- writing ------------------------------------------------------------------------------------------------------
    def _headings(self, columns: Sequence[Column]) -> None:
        self._row(columns, [column.title for column in columns], BOLD, GREY, size=7.5)
        self._canvas.setStrokeColor(LINE)
        self._canvas.line(MARGIN, self._y, MARGIN + self._inner, self._y)

    def _row(self, columns: Sequence[Column], cells: Sequence[str], font: str, colour: str, *, size: float = 8) -> None:
        self._y -= ROW
        x, last = MARGIN + 3.0, columns[-1]
        for column, cell in zip(columns, cells, strict=True):
            if column.number:
                self._right(x + column.width - (6 if column is last else 12), cell, font, size, colour, up=4.5)
            elif cell:
                self._write(x, _fitted(cell, column.width - 6, font, size), font, size, colour, up=4.5)
            x += column.width

    def _write(self, x: float, text: str, font: str, size: float, colour: str, *, up: float = 0) -> None:
        font, text = _drawable(text, font)
        self._use(font, size, colour)
        self._canvas.drawString(x, self._y + up, text)

    def _right(self, x: float, text: str, font: str, size: float, colour: str, *, up: float = 0) -> None:
        font, text = _drawable(text, font)
        self._use(font, size, colour)
        self._canvas.drawRightString(x, self._y + up, text)

    def _use(self, font: str, size: float, colour: str) -> None:
        """Change the pen only where it changes: most cells are written like the one before."""
        if self._pen != (font, size, colour):
            self._canvas.setFont(font, size)
            self._canvas.setFillColor(colour)
            self._pen = (font, size, colour)

    def _area(self, colour: str) -> None:
        self._canvas.setFillColor(colour)
        self._pen = None


def _drawable(text: str, font: str) -> tuple[str, str]:
    """A font that has the letters; what none has becomes a question mark."""
    if text.isascii() and text.isprintable():
        return font, text
    text = " ".join(text.split())
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        wide = _wide(_WIDE.get(font, "Vera"))
        return wide.fontName, "".join(_glyph(wide, one) for one in text)
    return font, text


def _glyph(font: "TTFont", one: str) -> str:
    """The letter; without its accents where the font has only those; a question mark where it has nothing like it."""
    for known in (one, unicodedata.normalize("NFKD", one)[0]):
        if ord(known) in font.face.charToGlyph:
            return known
    return "?"


@lru_cache(maxsize=2)
def _wide(name: str) -> "TTFont":
    from reportlab.pdfbase import pdfmetrics  # noqa: PLC0415
    from reportlab.pdfbase.ttfonts import TTFont  # noqa: PLC0415

    font = TTFont(name, f"{name}.ttf")
    pdfmetrics.registerFont(font)
    return font


def _text_width(text: str, font: str, size: float) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth  # noqa: PLC0415

    return stringWidth(text, font, size)


def _fitted(text: str, width: float, font: str, size: float) -> str:
    """As much of the text as fits, with an ellipsis where something is missing."""
    font, text = _drawable(text, font)
    if _text_width(text, font, size) <= width:
        return text
    while text and _text_width(text + "…", font, size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _lines(text: str, width: float, size: float) -> Iterable[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and _text_width(longer, REGULAR, size) > width:
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line
