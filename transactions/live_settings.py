"""The admin settings of purchases."""

from decimal import Decimal
from typing import Final

from django.conf import settings

from kamioi_site.live_settings import DecimalSetting, IntegerSetting, LimitSetting

# Dollars for each purchase that invests, and the largest share of its round-up that they may be. A change applies from
# the next day on, see `services.platform_fees`.
PLATFORM_FEE: Final = DecimalSetting("platform_fee", 0, 100, default=lambda: settings.PLATFORM_FEE, places=2)
MAX_FEE_SHARE: Final = DecimalSetting("platform_fee_max_share", 0, 1, default=lambda: Decimal("0.25"), places=4)
# Dollars of round-ups and fees that are set aside for a customer: by the purchases of one day, and by what is booked in
# a month; and dollars that a customer may owe. See `services.processing.limits`.
DAY_LIMIT: Final = LimitSetting("limit_per_day", default=50)
MONTH_LIMIT: Final = LimitSetting("limit_per_month", default=500)
OWED_LIMIT: Final = LimitSetting("limit_owed", default=500)
# An upload that exceeds one of them is confirmed before it is stored: purchases, and dollars set aside.
UPLOAD_CONFIRM_PURCHASES: Final = LimitSetting("upload_confirm_purchases", default=1000, places=0)
UPLOAD_CONFIRM_AMOUNT: Final = LimitSetting("upload_confirm_amount", default=500)
# Purchases that a customer sends must not be older than this number of days before the account was opened.
PURCHASE_HISTORY_DAYS: Final = IntegerSetting(
    "purchase_history_days", 0, 36_500, default=lambda: settings.PURCHASE_HISTORY_DAYS, blank=True
)
# What staff may send to the market at once: orders, and dollars.
MAX_ORDERS: Final = IntegerSetting("process_selected_max_orders", 1, 500, default=lambda: 500, blank=True)
MAX_AMOUNT: Final = DecimalSetting("process_selected_max_amount", 0, 10**9, default=lambda: Decimal(10_000), blank=True)
# Dollars above which a journal entry is posted by another person than its author; 0 when the author may always post.
JOURNAL_FOUR_EYES_LIMIT: Final = DecimalSetting(
    "journal_four_eyes_limit", 0, 10**9, default=lambda: Decimal(10_000), places=2
)
# What a customer may upload: imports that run at the same time, and files and megabytes within 24 hours.
UPLOADS_RUNNING: Final = IntegerSetting("uploads_running", 1, 1_000, default=lambda: 5)
UPLOADS_PER_DAY: Final = IntegerSetting("uploads_per_day", 1, 100_000, default=lambda: 500)
UPLOAD_MEGABYTES_PER_DAY: Final = IntegerSetting("upload_megabytes_per_day", 1, 100_000, default=lambda: 1_000)
# Days until the files and rejected rows of finished imports, and exports of personal data, are deleted.
UPLOAD_EXPIRY_DAYS: Final = IntegerSetting("upload_expiry_days", 1, 3_650, default=lambda: 90)
EXPORT_EXPIRY_DAYS: Final = IntegerSetting("export_expiry_days", 1, 365, default=lambda: 7)
