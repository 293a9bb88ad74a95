"""The text of an uploaded file: its encoding and its lines."""

import codecs
import io
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from transactions.errors import StatementError

_CHUNK: Final = 1 << 18
_MAX_LINE: Final = 1_000_000  # characters; a file with a longer line is no statement
_MAGIC_NUMBERS: Final = {
    b"PK\x03\x04": "a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a compressed file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"SQLite format": "a database",
}
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1f\x7f\ufffd]")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


def encoding_of(file: BinaryIO) -> str:
    """Detect utf-8, utf-16 (with a byte order mark), cp1252 or latin-1.

    Reads the whole file, because the one byte that decides may be in the last row. Raises StatementError.
    """
    file.seek(0)
    head = file.read(_CHUNK)
    if not head.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise StatementError("The file is empty.")
    for magic, kind in _MAGIC_NUMBERS.items():
        if head.startswith(magic):
            raise StatementError(f"This is {kind}, not a statement. Download the statement as CSV, Excel, OFX or QFX.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if encoding := _utf16_without_mark(head):
        return encoding
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"  # a few wrong bytes do not change what the mark says
    return _encoding_without_mark(file, head)


def _encoding_without_mark(file: BinaryIO, head: bytes) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, is_cp1252, chunk = True, True, head
    while chunk and (is_utf8 or is_cp1252):
        if is_utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf8 = False
        is_cp1252 = is_cp1252 and _NOT_CP1252.search(chunk) is None
        chunk = file.read(_CHUNK)
    if is_utf8:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            is_utf8 = False
    if is_utf8:
        return "utf-8"
    text = head.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    if sum(not char.isascii() for char in text) > 2 * wrong:
        return "utf-8"  # with a few wrong bytes
    return "cp1252" if is_cp1252 else "latin-1"


def _utf16_without_mark(head: bytes) -> str:
    """Return the byte order of UTF-16 without a mark: every other byte of Latin text is zero."""
    sample = head[:4_000]
    if len(sample) >= 4:
        for encoding, zeros in (("utf-16-be", sample[::2]), ("utf-16-le", sample[1::2])):
            others = sample[1::2] if encoding == "utf-16-be" else sample[::2]
            if zeros.count(0) > 0.8 * len(zeros) and others.count(0) < 0.1 * len(others):
                return encoding
    return ""


def _from_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Decode the bytes that are no UTF-8 as Windows writes them; broken UTF-16 becomes replacement characters."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return ("\ufffd" if error.encoding.startswith("utf-16") else wrong.decode("cp1252", "replace")), error.end


codecs.register_error("kamioi-cp1252", _from_cp1252)


def text_chunks(file: BinaryIO, encoding: str) -> Iterator[str]:
    """Yield the text with \\n as line ending and without NUL, direction and byte order marks."""
    file.seek(0)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("kamioi-cp1252"), translate=True)
    while chunk := file.read(_CHUNK):
        yield _clean(decoder.decode(chunk))
    yield _clean(decoder.decode(b"", final=True))


def _clean(text: str) -> str:
    text = text.replace("\0", "")
    return text if text.isascii() else _INVISIBLE.sub("", text)


def text_lines(file: BinaryIO, encoding: str) -> Iterator[str]:
    """Yield the lines with their \\n. Unlike str.splitlines, this does not break at other characters."""
    tail = ""
    for chunk in text_chunks(file, encoding):
        text = tail + chunk
        end = text.rfind("\n") + 1
        tail = text[end:]
        if len(tail) > _MAX_LINE:
            raise StatementError(f"A line has more than {_MAX_LINE:,} characters: this is not a statement.")
        yield from io.StringIO(text[:end])
    if tail:
        yield tail


def reject_binary(text: str) -> None:
    """Raise StatementError when more than one character in twenty is a control or replacement character."""
    if 20 * len(_CONTROL.findall(text[:_CHUNK])) > len(text[:_CHUNK]):
        raise StatementError("This is not a text file. Download the statement as CSV, OFX or QFX.")
