"""Helpers for admin views: the acting user, the template context, charts."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from django.http import HttpRequest

if TYPE_CHECKING:
    from transactions.models import User

# Charts of the admin show their scale and a legend.
CHART_OPTIONS: Final = json.dumps(
    {
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
)
_COLOURS: Final = ("var(--color-primary-600)", "var(--color-primary-300)")


def staff_user(request: HttpRequest) -> "User":
    """Return the acting user; the admin admits only staff."""
    return cast("User", request.user)


def page_context(model_admin: Any, request: HttpRequest, title: str, **context: Any) -> dict[str, Any]:
    """Return the context that templates of the admin need beside their own."""
    return {**model_admin.admin_site.each_context(request), "title": title, "opts": model_admin.opts, **context}


def line_chart(labels: Sequence[str], **series: Sequence[float]) -> str:
    """Return the data of a line chart as JSON; the keywords name its lines."""
    datasets = [
        {"label": name, "data": list(values), "borderColor": colour, "backgroundColor": colour}
        for (name, values), colour in zip(series.items(), _COLOURS, strict=False)
    ]
    return json.dumps({"labels": list(labels), "datasets": datasets})
