"""Our names and those of the legacy front end: `names.json` has a table `{its name: ours}` for each kind of row."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

NAMES: Final[Mapping[str, Mapping[str, str]]] = json.loads((Path(__file__).parent / "names.json").read_text())


def renamed(table: str, row: Any) -> dict[str, Any]:
    """Return the attributes of an object, or the items of a mapping, under the names of the table."""
    if isinstance(row, Mapping):
        return {shown: row[name] for shown, name in NAMES[table].items()}
    return {shown: getattr(row, name) for shown, name in NAMES[table].items()}
