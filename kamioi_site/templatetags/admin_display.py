"""Template filters for values as the admin shows them, and the path of a page."""

from django import template

from kamioi_site.admin.display import readonly_text
from kamioi_site.admin.navigation import page_path as path_of
from kamioi_site.formatting import code, moment, money, number, percent

register = template.Library()
register.filter("code", code)
register.filter("money", money)
register.filter("number", number)
register.filter("moment", moment)
register.filter("percent", percent)
register.filter("readonly_text", readonly_text)


@register.simple_tag(takes_context=True)
def page_path(context: template.Context) -> list[tuple[str, str]]:
    """Return the path of the page in the menu."""
    return path_of(context)
