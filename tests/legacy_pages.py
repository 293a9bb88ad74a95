"""docs/legacy-frontend.md as data: the calls in the tables of a section."""

import re
from pathlib import Path
from typing import Final

_TEXT: Final = (Path(__file__).parent.parent / "docs" / "legacy-frontend.md").read_text()
AREAS: Final = ("user", "family", "business")
Calls = set[tuple[str, str]]


def documented(heading: str) -> Calls:
    """Return the methods and paths of a section, with `{}` for ids."""
    section = _TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    spans = re.findall(r"`([A-Z, ]+) (/api/[^`]+)`", section)
    places = [(method, path) for methods, path in spans for method in methods.split(", ")]
    return {(method, path.replace("{area}", area)) for method, path in places for area in AREAS}


def documented_lines() -> list[str]:
    return _TEXT.splitlines()
