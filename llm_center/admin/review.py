"""Admin pages of the review queue and of decisions."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.keyset import KeysetChangeList
from kamioi_site.admin.pages import page_context, staff_user
from kamioi_site.errors import KamioiError
from kamioi_site.formatting import EMPTY, moment, plural
from kamioi_site.http.server_sent_events import events_response
from kamioi_site.numbers import FormIntegerField
from llm_center.cache import QUEUE_EVENTS, QUEUE_TOTALS
from llm_center.events import review_queue_event
from llm_center.models import MappingDecision, PendingDecision, ReviewMerchant
from llm_center.selectors import FAMILY, review_evidence, search_companies
from llm_center.services.review.bulk import bulk_effect, request_bulk_decision
from llm_center.services.review.corrections import CORRECTION
from llm_center.services.review.decisions import Action, booked_effect, decide_merchant, merchant_effect, parse_version
from llm_center.services.review.families import FamilyResult, decide_family, family_choices, parse_choices
from llm_center.services.review.queue import WAITING_STATUSES, QueueFilter, queue_totals
from llm_center.services.review.undo import request_undo, undo_effect, undoable_decisions
from transactions.models import BackgroundTask

DECISIONS = {Action.APPROVE, Action.CORRECT, Action.NOT_LISTED, Action.REJECT}
# Background tasks shown above the queue.
QUEUE_TASKS = ("release_merchants", CORRECTION, "undo_decision", "decide_merchants")
RECENT_TASKS = 3
# Decisions offered to be undone: those on a whole family, and a few more. The first ones are shown at once.
UNDOABLE = FAMILY + 10
# Merchants of a family whose refusal is reported one by one.
MAX_REFUSED = 5
NEEDS_APPROVAL = "amounts this large need a second reviewer's approval."


@admin.register(ReviewMerchant)
class ReviewMerchantAdmin(HistoryAdmin):
    """Merchants that await a decision, those that matter most first."""

    keyset = ("-review_priority", "id")
    list_display = ("merchant_key", "waiting_count", "waiting_amount")
    list_per_page = 25
    change_list_template = "admin/llm_center/review_queue.html"
    search_lookup = "merchant_key__startswith"
    search_case = "upper"
    search_help_text = "Start of the merchant name"

    def get_queryset(self, request: HttpRequest) -> Any:
        return (
            super()
            .get_queryset(request)
            .filter(status__in=WAITING_STATUSES)
            .select_related("pending_decision__requested_by")
        )

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "llm_center_reviewmerchant"
        return [
            path("<int:pk>/decide/<str:action>/", view(self.decide_view), name=f"{name}_decide"),
            path("bulk/", view(self.bulk_view), name=f"{name}_bulk"),
            path("undo/<int:pk>/", view(self.undo_view), name=f"{name}_undo"),
            path("companies/", view(self.companies_view), name=f"{name}_companies"),
            path("live/", view(self.live_view), name=f"{name}_live"),
            *super().get_urls(),
        ]

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("llm_center.change_reviewmerchant")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """List the queue with evidence, running tasks and decisions that can be undone."""
        reply = super().changelist_view(request, extra_context)
        changelist = getattr(reply, "context_data", {}).get("cl")
        if not isinstance(changelist, KeysetChangeList):
            return reply
        if changelist.first_url and not changelist.result_list:
            return redirect(f"{request.path}{changelist.first_url}")  # the last page has been decided
        merchants, count, amount = queue_totals()
        reply.context_data |= {
            "title": "Review queue",
            "totals": {"merchants": merchants, "transactions": count, "amount": amount},
            "rows": review_evidence(changelist.result_list),
            "tasks": BackgroundTask.objects.filter(name__in=QUEUE_TASKS).order_by("-created_at")[:RECENT_TASKS],
            "open_statuses": BackgroundTask.OPEN,
            "undoable": list(undoable_decisions(actor=staff_user(request))[:UNDOABLE]),
            "may_decide": self.has_decide_permission(request),
            "back": request.GET.urlencode(),
        }
        return reply

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        # The page of a single merchant is in the directory.
        return redirect("admin:transactions_merchant_change", object_id)

    def decide_view(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Show the effect of a decision; on POST decide.

        A script shows this page's form in a dialog; without the script it is a page.
        """
        if not self.has_decide_permission(request):
            raise PermissionDenied
        if action not in DECISIONS:
            return HttpResponse("Unknown decision.", status=404)
        merchant = get_object_or_404(ReviewMerchant, pk=pk)
        decision, ticker = Action(action), request.POST.get("ticker") or request.GET.get("ticker") or ""
        if request.method == "POST":
            try:
                _decide(request, merchant, decision, ticker)
            except KamioiError as error:
                messages.error(request, str(error))
            return redirect(_queue_address(request.POST))
        context = page_context(
            self,
            request,
            f"{decision.label.capitalize()}: {merchant.merchant_key}",
            merchant=merchant,
            action=decision,
            ticker=ticker,
            expected_updated_at=merchant.updated_at.isoformat(),
            back=request.GET.get("back", ""),
            queue=_queue_address(request.GET),
            pending=PendingDecision.objects.filter(merchant=merchant).select_related("requested_by").first(),
        )
        if merchant.status not in WAITING_STATUSES and merchant.decided_at:
            reviewer = merchant.decided_by.email if merchant.decided_by else "The system"
            context["decided"] = (
                f"{reviewer} decided this on {moment(merchant.decided_at)} UTC: {merchant.get_status_display()}"
                f"{', ' + merchant.ticker if merchant.ticker else ''}. Your decision will replace it."
            )
        try:
            if decision != Action.CORRECT or ticker:
                context["effect"] = merchant_effect(
                    merchant=merchant, action=decision, actor=staff_user(request), ticker=ticker
                )
                context["family"] = family_choices(merchant=merchant, action=decision, actor=staff_user(request))
        except KamioiError as error:
            context["error"] = str(error)
        if "effect" in context and decision != Action.REJECT:
            try:
                context["booked"] = booked_effect(
                    merchant=merchant, action=decision, actor=staff_user(request), ticker=ticker
                )
            except KamioiError as error:
                context["not_correctable"] = str(error)
        return TemplateResponse(request, "admin/llm_center/decide.html", context)

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Show the effect of deciding all merchants of a filter; on POST decide them in the background."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else request.GET
        form = BulkForm(data if "action" in data else None)
        context = page_context(self, request, "Bulk decision", form=form)
        if form.is_valid():
            queue_filter, action = form.queue_filter(), Action(form.cleaned_data["action"])
            try:
                if request.method == "POST":
                    task = request_bulk_decision(
                        queue_filter=queue_filter,
                        action=action,
                        actor=staff_user(request),
                        until=parse_version(data.get("until", "")),
                    )
                    messages.success(request, f"Deciding {task.total:,} merchants.")
                    return redirect("admin:llm_center_reviewmerchant_changelist")
                context |= {
                    "effect": bulk_effect(queue_filter=queue_filter, action=action),
                    "until": timezone.now().isoformat(),
                    "action": action,
                }
            except KamioiError as error:
                form.add_error(None, str(error))
        return TemplateResponse(request, "admin/llm_center/bulk.html", context)

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what undoing a decision reverts; on POST undo it."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        decision = get_object_or_404(MappingDecision, pk=pk)
        if request.method == "POST":
            try:
                request_undo(decision_id=pk, actor=staff_user(request), reason=request.POST.get("reason", ""))
            except KamioiError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, f"The decision on {decision.merchant_key} was undone.")
            return redirect(_queue_address(request.POST))
        context = page_context(
            self,
            request,
            f"Undo: {decision.merchant_key}",
            decision=decision,
            effect=undo_effect(decision=decision),
            back=request.GET.get("back", ""),
            queue=_queue_address(request.GET),
        )
        return TemplateResponse(request, "admin/llm_center/undo.html", context)

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """Stream the totals of the queue as server-sent events."""
        if not self.has_view_permission(request):
            raise PermissionDenied

        caller = str(staff_user(request).pk)
        return events_response(
            request, source=QUEUE_EVENTS, key=QUEUE_TOTALS, caller=caller, event=review_queue_event()
        )

    def companies_view(self, request: HttpRequest) -> JsonResponse:
        """Suggest listed companies for a ticker or part of a name."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return JsonResponse({"companies": search_companies(request.GET.get("q", ""))})


class BulkForm(forms.Form):
    """Selects a part of the queue and a decision for it."""

    starts = forms.CharField(
        label="Merchant starts with", required=False, max_length=120, widget=UnfoldAdminTextInputWidget
    )
    ticker = forms.CharField(label="Proposed ticker", required=False, max_length=12, widget=UnfoldAdminTextInputWidget)
    confidence = FormIntegerField(
        label="Minimum confidence in percent",
        required=False,
        min_value=0,
        max_value=100,
        widget=UnfoldAdminIntegerFieldWidget,
    )
    action = forms.ChoiceField(
        label="Decision",
        choices=[("approve", "Approve the proposals"), ("not_listed", "Not listed")],
        widget=UnfoldAdminSelectWidget,
    )

    def queue_filter(self) -> QueueFilter:
        data = self.cleaned_data
        return QueueFilter(data["starts"], data["ticker"], Decimal(data["confidence"] or 0) / 100)


def _queue_address(data: QueryDict) -> str:
    """Return the address of the queue, with the search and the page where the reviewer decides."""
    query = QueryDict(data.get("back", "")).urlencode()
    return reverse("admin:llm_center_reviewmerchant_changelist") + (f"?{query}" if query else "")


def _decide(request: HttpRequest, merchant: ReviewMerchant, action: Action, ticker: str) -> None:
    """Make the decision of the form, and report the outcome."""
    others = parse_choices(request.POST.getlist("similar"))
    decision: dict[str, Any] = {
        "merchant_id": merchant.pk,
        "action": action,
        "actor": staff_user(request),
        "ticker": ticker,
        "expected_updated_at": parse_version(request.POST.get("expected_updated_at", "")),
        "reason": request.POST.get("reason", ""),
        "include_booked": request.POST.get("scope") == "booked",
    }
    if others:
        _report_family(request, decide_family(others=others, **decision))
        return
    decided = decide_merchant(**decision)
    if decided.decision:
        messages.success(request, _decision_message(decided.decision))
    else:
        messages.info(request, f"{merchant.merchant_key}: {NEEDS_APPROVAL}")


def _report_family(request: HttpRequest, result: FamilyResult) -> None:
    if result.decisions:
        messages.success(request, _family_message(result.decisions))
    if result.pending:
        messages.info(request, f"{_names(result.pending)}: {NEEDS_APPROVAL}")
    for text in result.refused[:MAX_REFUSED]:
        messages.error(request, text)
    if (more := len(result.refused) - MAX_REFUSED) > 0:
        messages.error(request, f"{plural(more, 'more merchant')} could not be decided.")


def _family_message(decisions: list[MappingDecision]) -> str:
    first = decisions[0]
    if len(decisions) == 1:
        return _decision_message(first)
    names = _names([decision.merchant_key for decision in decisions])
    transactions = plural(sum(decision.released_count for decision in decisions), "transaction")
    booked = f" Correcting {plural(first.corrected_count, 'booked purchase')}." if first.corrected_count else ""
    if first.action == Action.NOT_LISTED:
        return f"{names} are not listed: {transactions} closed.{booked}"
    return f"{names} are {first.after['ticker']}: {transactions} released.{booked}"


def _names(keys: list[str]) -> str:
    """Return the first name and how many similar merchants there are beside it."""
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {plural(len(keys) - 1, 'similar merchant')}"


def _decision_message(decision: MappingDecision) -> str:
    key, transactions = decision.merchant_key, plural(decision.released_count, "transaction")
    booked = f" Correcting {plural(decision.corrected_count, 'booked purchase')}." if decision.corrected_count else ""
    match Action(decision.action):
        case Action.NOT_LISTED:
            return f"{key} is not listed: {transactions} closed.{booked}"
        case Action.REJECT:
            return f"{decision.before['ticker']} was rejected for {key}, which stays in the queue."
        case _:
            return f"{key} is {decision.after['ticker']}: {transactions} released.{booked}"


@admin.register(PendingDecision)
class PendingDecisionAdmin(HistoryAdmin):
    """Decisions that need the approval of a second reviewer."""

    list_display = ("id", "merchant", "action", "ticker", "include_booked", "requested_by", "requested_at", "reason")
    list_select_related = ("merchant", "requested_by")


@admin.register(MappingDecision)
class MappingDecisionAdmin(HistoryAdmin):
    list_display = (
        "id",
        "decided_at",
        "merchant_key",
        "action_label",
        "change",
        "reviewer",
        "released_count",
        "corrected_count",
        "reason",
    )
    list_select_related = ("decided_by",)
    search_lookup = "merchant_key"
    search_case = "upper"
    search_help_text = "The full merchant name, as listed here"

    @display(
        description="Decision",
        label={"approve": "success", "correct": "info", "not_listed": "warning", "reject": "danger", "undo": "default"},
    )
    def action_label(self, row: MappingDecision) -> tuple[str, str]:
        return row.action, row.get_action_display()

    @display(description="Ticker")
    def change(self, row: MappingDecision) -> str:
        before, after = row.before.get("ticker") or EMPTY, row.after.get("ticker") or EMPTY
        return after if before == after else f"{before} → {after}"

    @display(description="Reviewer")
    def reviewer(self, row: MappingDecision) -> str:
        return "automatic" if row.automatic else str(row.decided_by)
