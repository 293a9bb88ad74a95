"""Template filters for money, numbers and dates, as the lists of the admin show them."""

from django import template

from kamioi_site.formatting import moment, money, number, percent

register = template.Library()
register.filter("money", money)
register.filter("number", number)
register.filter("moment", moment)
register.filter("percent", percent)
