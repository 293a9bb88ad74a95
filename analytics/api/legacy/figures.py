"""The figures of the staff API as the pages of the legacy front end show them: with units, and without nulls."""

from collections.abc import Mapping
from typing import Any, Final

# What is never measured, where the pages show a blank tile or a zero.
_UNMEASURED: Final = {"dimensions": "none"} | dict.fromkeys(
    ("user_behavior", "transaction_features", "avg_processing_time", "processing_rate"), "not measured"
)
_UNITS: Final = {"processing_speed": "{:.1f} merchants/s", "error_rate": "{:.1f}%", "memory_usage": "{:.0f} MB"}


def page_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page on the data system shows: a tile for each figure, so none for what is null."""
    shown = {name: _UNMEASURED.get(name) if value is None else value for name, value in figures.items()}
    if "uptime" in shown:
        shown["uptime"] = duration(figures["uptime"])
    return {name: value for name, value in shown.items() if value is not None}


def dashboard(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dashboard with performance and categories inside `analytics`, as texts and percentages.

    The page calculates with the accuracy, so it is 0 where no proposal was reviewed.
    """
    performance, categories = data["performance_metrics"], data["category_distribution"]
    texts = {
        name: None if performance[name] is None else text.format(performance[name]) for name, text in _UNITS.items()
    }
    confidence, total = performance["avg_confidence"], sum(categories.values())
    cards = data["analytics"] | {
        "performanceMetrics": texts
        | {
            "avg_confidence": None if confidence is None else round(confidence * 100, 1),
            "uptime": duration(performance["uptime"]),
        },
        "categoryDistribution": {name: round(count * 100 / total, 1) for name, count in categories.items()},
    }
    return {**data, "analytics": cards | {name: cards[name] or 0 for name in ("accuracyRate", "autoApprovalRate")}}


def duration(seconds: float) -> str:
    """Return the seconds in the largest unit that is full."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
