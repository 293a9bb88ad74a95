"""The admin settings of analytics."""

from decimal import Decimal
from typing import Final

from kamioi_site.live_settings import DecimalSetting

# Dollars a month for servers, databases and network. The SQL of the cost figures reads it.
INFRASTRUCTURE_MONTHLY_COST: Final = DecimalSetting("infrastructure_monthly_cost", 0, 10**9, default=lambda: Decimal(0))
