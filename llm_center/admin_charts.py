"""Chart.js configuration shared by the charts of the admin."""

from typing import Any, Final

# Show the scale and name the lines; Unfold's defaults hide both.
CHART_OPTIONS: Final[dict[str, Any]] = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "datasets": {"line": {"borderWidth": 2, "pointRadius": 3}},
    "plugins": {"legend": {"align": "end", "labels": {"boxHeight": 5, "boxWidth": 5, "usePointStyle": True}}},
    "scales": {
        "y": {"beginAtZero": True, "ticks": {"display": True, "maxTicksLimit": 5}},
        "x": {"ticks": {"maxRotation": 0, "autoSkip": True}},
    },
}
COLORS: Final = ("var(--color-primary-600)", "var(--color-primary-300)")


def chart(labels: list[str], **datasets: list[Any]) -> dict[str, Any]:
    """Return the data of a chart with one line or bar per keyword."""
    return {
        "labels": labels,
        "datasets": [
            {
                "label": name.replace("_", " "),
                "data": values,
                "borderColor": COLORS[n % 2],
                "backgroundColor": COLORS[n % 2],
            }
            for n, (name, values) in enumerate(datasets.items())
        ],
    }
