"""The admin settings of purchases."""

from decimal import Decimal
from typing import Final

from django.conf import settings

from kamioi_site.live_settings import DecimalSetting, IntegerSetting

# Dollars; charged for each purchase that invests.
PLATFORM_FEE: Final = DecimalSetting("platform_fee", 0, 100, default=lambda: settings.PLATFORM_FEE, places=2)
# What staff may send to the market at once: orders, and dollars.
MAX_ORDERS: Final = IntegerSetting("process_selected_max_orders", 1, 500, default=lambda: 500, blank=True)
MAX_AMOUNT: Final = DecimalSetting("process_selected_max_amount", 0, 10**9, default=lambda: Decimal(10_000), blank=True)
