"""The sidebar of the admin: the queue on top, then six sections; each user sees the entries they may view."""

from collections.abc import Iterator
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

# Icon (Material Symbols), label, and model or view name. Views that are no changelist name their permission;
# a dashboard names the one whose permission it needs, if not its own.
TOP: Final = (("home", "Home", "admin:index", ""), ("rule", "Review queue", "llm_center_reviewmerchant"))
SECTIONS: Final = {
    "Dashboards": (
        ("psychology", "LLM Center", "dashboard", "llm-center"),
        ("monitoring", "Transactions", "dashboard", "transactions"),
        ("finance", "Finance", "dashboard", "finance"),
        ("speed", "Operations", "dashboard", "operations"),
        ("description", "Reports", "analytics_report"),
    ),
    "Customers": (
        ("group", "Users", "transactions_user"),
        ("family_restroom", "Members", "transactions_accountmember"),
        ("receipt_long", "Transactions", "transactions_transaction"),
        ("content_copy", "Possible duplicates", "transactions_possibleduplicate"),
        ("upload_file", "Statements", "transactions_statementimport"),
        ("report", "Rejected rows", "transactions_statementreject"),
        ("account_balance_wallet", "Bank accounts", "transactions_bankaccount"),
        ("quiz", "Remembered answers", "transactions_importprofile"),
        ("undo", "Refunds without purchase", "transactions_unmatchedrefund"),
        ("schedule", "Orders", "transactions_order"),
        ("savings", "Holdings", "transactions_holding"),
        ("notifications", "Notifications", "transactions_notification"),
        ("flag", "Goals", "transactions_goal"),
    ),
    "LLM Center": (
        ("storefront", "Merchants", "transactions_merchant"),
        ("psychology", "Proposals", "llm_center_llmmapping"),
        ("gavel", "Decisions", "llm_center_mappingdecision"),
        ("group_add", "Pending second approvals", "llm_center_pendingdecision"),
        ("upload_file", "Mapping files", "llm_center_mappingimport"),
        ("school", "Learning", "llm_center_calibrationfit"),
        ("smart_toy", "LLM requests", "llm_center_llmcall"),
        ("sell", "Brands", "llm_center_cataloguebrand"),
        ("domain", "Companies", "transactions_company"),
        ("show_chart", "Prices", "transactions_stockprice"),
    ),
    "Books": (
        ("balance", "Financial statements", "dashboard", "financial-statements", "finance"),
        ("account_balance", "Ledger", "transactions_ledgertransfer"),
        ("menu_book", "Journal", "transactions_journalentry"),
        ("edit_note", "Journal drafts", "transactions_journaldraft"),
        ("request_quote", "Receivables", "transactions_receivable"),
        ("payments", "Collections", "transactions_collection"),
        ("inventory_2", "Broker positions", "transactions_brokerposition"),
        ("verified_user", "Seals", "transactions_ledgerseal"),
        ("event_busy", "Closed periods", "transactions_periodclosing"),
        ("swap_horiz", "Broker orders", "transactions_brokerorder"),
        ("list_alt", "Chart of accounts", "transactions_ledgeraccount"),
        ("dataset", "Data assets", "llm_center_llmdataasset"),
        ("trending_down", "Amortization", "llm_center_amortizationentry"),
    ),
    "Operations": (
        ("pending_actions", "Background tasks", "transactions_backgroundtask"),
        ("event_repeat", "Schedule", "django_celery_beat_periodictask"),
        ("settings", "Settings", "transactions_setting"),
        ("price_change", "Platform fees", "transactions_platformfee"),
        ("bolt", "Cache", "admin-cache", "transactions.change_backgroundtask"),
        ("policy", "Audit trail", "transactions_auditevent"),
        ("history", "Admin log", "admin_logentry"),
        ("badge", "Roles", "auth_group"),
        ("key", "API tokens", "transactions_apitoken"),
        ("phonelink_lock", "Two-factor devices", "otp_totp_totpdevice"),
        ("lock_clock", "Failed logins", "axes_accessattempt"),
    ),
    "System": (
        ("hourglass_top", "Pending LLM requests", "llm_center_proposalclaim"),
        ("tune", "Preferences", "transactions_usersetting"),
        ("fingerprint", "Ingest keys", "transactions_transactionkey"),
        ("repeat", "Idempotency keys", "transactions_idempotencykey"),
        ("calendar_month", "Transactions by day", "analytics_transactionday"),
        ("calendar_today", "Proposals by day", "analytics_mappingday"),
        ("timer", "Decisions by day", "analytics_decisionday"),
        ("event_note", "Ledger by day", "analytics_ledgerday"),
        ("groups", "Active customers", "analytics_customercount"),
        ("person", "Customers by month", "analytics_customermonth"),
        ("fact_check", "Counted partitions", "analytics_rolluppartition"),
        ("inventory", "Detached partitions", "transactions_detachedpartition"),
        ("move_down", "Migration runs", "transactions_migrationrun"),
        ("rule_folder", "Migration rejects", "transactions_migrationreject"),
        ("toggle_on", "Feature flags", "waffle_flag"),
    ),
}


# Changelist → section, and label.
_PLACES: Final = {TOP[1][2]: ("", TOP[1][1])} | {
    entry[2]: (section, entry[1]) for section, entries in SECTIONS.items() for entry in entries
}


def page_path(context: Any) -> list[tuple[str, str]]:
    """Return (title, link) of each level of a page, as the menu names them; a level without a link is not clickable."""
    opts, title = context.get("opts"), str(context.get("title") or "")
    if not opts:
        return [(title, "")]
    name = f"{opts.app_label}_{opts.model_name}"
    section, label = _PLACES.get(name, ("", capfirst(opts.verbose_name_plural)))
    levels = [(section, "")] if section else []
    if context.get("cl"):
        return [*levels, (label, "")]
    levels.append((label, reverse(f"admin:{name}_changelist")))
    row = context.get("original") or context.get("object")
    if row is None or isinstance(row, str):
        return [*levels, (title, "")]
    return [*levels, (str(row), reverse(f"admin:{name}_change", args=[row.pk]))]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu in unfold's format."""
    sections = [{"items": list(_items(request, TOP))}]
    return sections + [
        {"title": title, "collapsible": True, "items": list(_items(request, entries))}
        for title, entries in SECTIONS.items()
    ]


def _items(request: HttpRequest, entries: tuple[tuple[str, ...], ...]) -> Iterator[dict[str, Any]]:
    for icon, title, target, *argument in entries:
        if target == "dashboard":
            permission = f"analytics.view_{argument[-1].replace('-', '_')}_dashboard"
            link = reverse("dashboard", args=argument[:1])
        elif argument:
            permission, link = argument[0], reverse(target)
        else:
            app, _, model = target.rpartition("_")
            permission, link = f"{app}.view_{model}", reverse(f"admin:{target}_changelist")
        if not permission or request.user.has_perm(permission):
            item = {"title": title, "icon": icon, "link": link}
            yield item | {"badge": "analytics.admin_home.queue_badge"} if target == TOP[1][2] else item
