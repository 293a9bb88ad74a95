"""Template filters for money, numbers and dates, as the lists of the admin show them."""

from django import template

from kamioi_site.admin import display

register = template.Library()
register.filter("money", display.money)
register.filter("number", display.number)
register.filter("moment", display.moment)
register.filter("percent", display.percent)
