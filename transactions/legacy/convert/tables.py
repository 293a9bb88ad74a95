"""The tables that the app `transactions` converts (see `transactions.legacy.registry`)."""

from typing import Final

from transactions.legacy.convert.books import (
    ChartConverter,
    JournalConverter,
    NotificationConverter,
    PortfolioConverter,
    SettingConverter,
)
from transactions.legacy.convert.transactions import TRANSACTIONS
from transactions.legacy.convert.users import AdminConverter, UserConverter

BULK_TABLES: Final = [TRANSACTIONS]
ROW_CONVERTERS: Final = {
    "users": UserConverter,
    "admins": AdminConverter,
    "portfolios": PortfolioConverter,
    "notifications": NotificationConverter,
    "admin_settings": SettingConverter,
    "chart_of_accounts": ChartConverter,
    "journal_entries": JournalConverter,
}
