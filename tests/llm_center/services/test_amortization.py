"""Amortization of data assets: exact to the cent, posted once per month, corrected by contra entries."""

import re
import threading
from datetime import date
from decimal import Decimal
from io import StringIO

import pytest
import time_machine
from dateutil.relativedelta import relativedelta
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from kamioi_site.live_settings import SettingError
from llm_center.errors import AssetOperationError
from llm_center.models import AmortizationEntry, AmortizationReversal, AssetEvent, LlmDataAsset
from llm_center.services.amortization import (
    add_asset_cost,
    amortize_month,
    asset_schedule,
    carrying_value,
    dispose_asset,
    impair_asset,
    reverse_entry,
    schedule,
)
from llm_center.tasks import monthly_llm_amortization
from tests.factories import make_staff, make_user
from transactions.models import LedgerTransfer, Setting
from transactions.services.ledger_verification import find_ledger_problems

NOW = "2026-11-24 12:00:00+00:00"
pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _fixed_day():
    with time_machine.travel(NOW, tick=False):
        yield


def make_asset(cost: str = "1000.00", months: int = 3, since: date = date(2026, 9, 15), **fields) -> LlmDataAsset:
    return LlmDataAsset.objects.create(
        asset_name="KamioiGPT",
        asset_type="model",
        status="production",
        cost_basis=Decimal(cost),
        useful_life_months=months,
        in_service_on=since,
        **fields,
    )


def posted() -> list[tuple[str, Decimal]]:
    return [(f"{e.period:%Y-%m}", e.amount) for e in AmortizationEntry.objects.filter(reversal=None).order_by("period")]


def balance(account: str) -> Decimal:
    rows = LedgerTransfer.objects.all()
    return sum((r.amount for r in rows if r.debit_account == account), Decimal(0)) - sum(
        (r.amount for r in rows if r.credit_account == account), Decimal(0)
    )


# --- Schedule


@given(cost=st.decimals(min_value=0, max_value=10**9, places=2), share=st.integers(0, 100), life=st.integers(1, 120))
def test_charges_add_up_to_the_cent_and_the_last_month_takes_the_remainder(cost, share, life):
    salvage = (cost * share / 100).quantize(Decimal("0.01"))
    months = schedule(cost=cost, salvage=min(salvage, cost), life=life, in_service=date(2026, 1, 31))
    assert len(months) == life
    assert sum(month.amount for month in months) == cost - min(salvage, cost)
    assert len({month.amount for month in months[:-1]}) <= 1
    assert months[-1].amount - (months[0].amount if life > 1 else months[-1].amount) < Decimal("0.01") * life
    assert months[-1].carrying == min(salvage, cost)
    assert months[0].period == date(2026, 1, 1)
    assert all(month.amount >= 0 for month in months)


def test_changes_apply_from_their_month_on():
    months = schedule(
        cost=Decimal(1200),
        salvage=Decimal(0),
        life=12,
        in_service=date(2026, 1, 1),
        changes=[(date(2026, 4, 10), Decimal(90)), (date(2026, 7, 1), Decimal(-330))],
    )
    assert [month.amount for month in months] == [Decimal(n) for n in [100] * 3 + [110] * 3 + [55] * 6]


def test_posted_months_do_not_change_and_the_rest_follows_the_current_facts():
    first = {date(2026, 1, 1): Decimal("50.00"), date(2026, 2, 1): Decimal("50.00")}
    months = schedule(cost=Decimal(1200), salvage=Decimal(0), life=12, in_service=date(2026, 1, 1), posted=first)
    assert [month.amount for month in months] == [Decimal(50)] * 2 + [Decimal(110)] * 10
    assert [month.posted for month in months] == [True] * 2 + [False] * 10


# --- Monthly run


def test_missed_months_are_posted_each_under_its_own_date():
    make_asset()
    result = amortize_month(month=date(2026, 11, 30))
    assert posted() == [("2026-09", Decimal("333.33")), ("2026-10", Decimal("333.33")), ("2026-11", Decimal("333.34"))]
    assert result.total == 1000
    rows = LedgerTransfer.objects.order_by("date")
    assert [(r.debit_account, r.credit_account, r.reference, f"{r.date:%Y-%m-%d}") for r in rows] == [
        ("67010", "15100", f"LLM-AMORT-2026{month}", f"2026-{month}-01") for month in ("09", "10", "11")
    ]
    assert list(find_ledger_problems()) == []


def test_a_second_run_posts_nothing():
    make_asset()
    monthly_llm_amortization()
    again = monthly_llm_amortization()
    assert again == {"charges": 0, "amount": "0.00"}
    assert LedgerTransfer.objects.count() == 3


def test_a_run_for_a_past_month_posts_nothing_later_and_the_next_run_continues():
    make_asset()
    amortize_month(month=date(2026, 10, 5))
    assert [month for month, _ in posted()] == ["2026-09", "2026-10"]
    amortize_month(month=date(2026, 9, 5))
    assert len(posted()) == 2
    amortize_month(month=date(2026, 11, 5))
    assert sum(amount for _, amount in posted()) == 1000


def test_a_future_month_is_refused():
    with pytest.raises(AssetOperationError, match="not begun"):
        amortize_month(month=date(2026, 12, 1))


def test_charges_end_with_the_useful_life():
    asset = make_asset(months=2)
    amortize_month(month=date(2026, 11, 1))
    assert len(posted()) == 2
    assert amortize_month(month=date(2026, 11, 1)).idle == [(asset, "posted up to 2026-10")]


def test_assets_that_are_not_in_service_are_not_charged():
    make_asset(since=None)
    make_asset(since=date(2026, 12, 1))
    result = amortize_month(month=date(2026, 11, 1))
    assert [reason for _, reason in result.idle] == ["not in service", "in service from 2026-12-01"]


def test_the_salvage_value_is_never_amortized_and_pennies_are_charged_in_the_last_month():
    make_asset(cost="0.20", months=3, salvage_value=Decimal("0.18"))
    amortize_month(month=date(2026, 11, 1))
    assert posted() == [("2026-11", Decimal("0.02"))]


def test_the_legacy_account_can_be_configured_and_an_invalid_one_posts_nothing():
    make_asset()
    Setting.objects.update_or_create(key="amortization_credit_account", defaults={"value": "15200"})
    amortize_month(month=date(2026, 9, 1))
    assert LedgerTransfer.objects.get().credit_account == "15200"
    Setting.objects.filter(key="amortization_credit_account").update(value="99999")
    with pytest.raises(SettingError):
        amortize_month(month=date(2026, 10, 1))
    assert len(posted()) == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_concurrent_workers_post_each_charge_once():
    make_asset(months=36, since=date(2025, 1, 1))

    def work() -> None:
        try:
            amortize_month(month=date(2026, 11, 1))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(posted()) == 23
    assert LedgerTransfer.objects.count() == 23
    assert list(find_ledger_problems()) == []


def test_the_database_refuses_a_second_entry_and_a_negative_one():
    asset = make_asset()
    amortize_month(month=date(2026, 9, 1))
    with pytest.raises(IntegrityError, match="once_per_month"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO amortization_entries (asset_id, period, amount, created_at)"
            " VALUES (%s, '2026-09-01', 1, now())",
            [asset.pk],
        )
    with pytest.raises(IntegrityError, match="salvage"), transaction.atomic():
        LlmDataAsset.objects.filter(pk=asset.pk).update(salvage_value=5000)


def test_the_database_accepts_another_entry_of_the_month_once_for_each_reversal():
    make_asset()
    for _ in range(3):
        amortize_month(month=date(2026, 9, 1))
        amortize_month(month=date(2026, 9, 1))
        reverse_entry(entry_id=AmortizationEntry.objects.latest("pk").pk, actor=make_staff(), reason="again")
    first, second, third = AmortizationEntry.objects.order_by("pk")
    assert (first.replaces, second.replaces.entry, third.replaces.entry) == (None, first, second)
    assert list(find_ledger_problems()) == []
    for replaces in (None, first.reversal):
        with pytest.raises(IntegrityError), transaction.atomic():
            AmortizationEntry.objects.create(asset=first.asset, period=first.period, amount=1, replaces=replaces)


@pytest.mark.as_owner
@pytest.mark.parametrize("kind", ["amortization", "amort_reversal"])
def test_verify_ledger_finds_an_entry_or_a_reversal_without_its_transfer_and_the_opposite(kind):
    make_asset()
    amortize_month(month=date(2026, 9, 1))
    reverse_entry(entry_id=AmortizationEntry.objects.get().pk, actor=make_staff(), reason="a test")
    with transaction.atomic():
        LedgerTransfer.objects.filter(kind=kind).delete()
        assert [problem.problem for problem in find_ledger_problems()] == ["amortization"]
        transaction.set_rollback(True)
    AmortizationReversal.objects.all().delete()
    if kind == "amortization":
        AmortizationEntry.objects.all().delete()
    assert {problem.problem for problem in find_ledger_problems()} == {"amortization"}


# --- Corrections


def test_a_reversal_is_a_contra_entry_and_the_month_can_be_posted_again():
    asset, chief = make_asset(), make_staff()
    amortize_month(month=date(2026, 10, 1))
    first, second = AmortizationEntry.objects.order_by("period")
    with pytest.raises(AssetOperationError, match="Later months"):
        reverse_entry(entry_id=first.pk, actor=chief, reason="wrong life")
    reverse_entry(entry_id=second.pk, actor=chief, reason="wrong life")
    with pytest.raises(AssetOperationError, match="already"):
        reverse_entry(entry_id=second.pk, actor=chief, reason="again")
    assert balance("67010") == Decimal("333.33")
    asset.useful_life_months = 12
    asset.save()
    amortize_month(month=date(2026, 10, 1))
    assert posted() == [("2026-09", Decimal("333.33")), ("2026-10", Decimal("60.60"))]
    assert list(find_ledger_problems()) == []


def test_costs_impairment_and_disposal_are_posted():
    asset, chief = make_asset(cost="0", months=10, since=date(2026, 8, 1)), make_staff()
    add_asset_cost(
        asset_id=asset.pk, component="computing", amount=Decimal(1000), dated_on=date(2026, 8, 1), actor=chief
    )
    add_asset_cost(
        asset_id=asset.pk,
        component="data",
        amount=Decimal(500),
        dated_on=date(2026, 8, 2),
        actor=chief,
        already_posted=True,
    )
    assert balance("15200") == 1000
    amortize_month(month=date(2026, 9, 1))
    with pytest.raises(AssetOperationError, match="already posted"):
        impair_asset(asset_id=asset.pk, amount=Decimal(1), dated_on=date(2026, 9, 30), actor=chief)
    with pytest.raises(AssetOperationError, match=r"carrying amount is \$1,200"):
        impair_asset(asset_id=asset.pk, amount=Decimal(1201), dated_on=date(2026, 10, 5), actor=chief)
    impair_asset(asset_id=asset.pk, amount=Decimal(400), dated_on=date(2026, 10, 5), actor=chief)
    asset.refresh_from_db()
    assert carrying_value(asset) == 800
    assert [month.amount for month in asset_schedule(LlmDataAsset.objects.get())][2:] == [Decimal(100)] * 8
    event = dispose_asset(asset_id=asset.pk, dated_on=date(2026, 11, 10), proceeds=Decimal(150), actor=chief)
    assert event.kind == "disposal"
    assert [month for month, _ in posted()] == ["2026-08", "2026-09", "2026-10"]  # the months before the day
    assert balance("15100") == 0
    assert balance("67030") == 550
    assert balance("15200") == 1000 - 1500
    assert carrying_value(LlmDataAsset.objects.get()) == 0
    with pytest.raises(AssetOperationError, match="disposed"):
        add_asset_cost(asset_id=asset.pk, component="x", amount=Decimal(1), dated_on=date(2026, 11, 11), actor=chief)
    assert amortize_month(month=date(2026, 11, 1)).idle[0][1] == "disposed of"
    assert list(find_ledger_problems()) == []


def test_a_disposal_above_the_carrying_value_is_a_gain():
    asset, chief = make_asset(cost="100"), make_staff()
    dispose_asset(asset_id=asset.pk, dated_on=date(2026, 9, 20), proceeds=Decimal(130), actor=chief)
    assert balance("40200") == -30
    assert AssetEvent.objects.get().amount == 130


# --- Command and admin


def test_the_command_prints_what_it_posts():
    make_asset()

    def output(*arguments: str) -> str:
        out = StringIO()
        call_command("amortize", *arguments, stdout=out)
        return out.getvalue()

    assert "2 charges, $666.66 would be posted" in output("--month", "2026-10", "--dry-run")
    assert not posted()
    assert "LLM-AMORT-202610" in output("--month", "2026-10")
    assert "1 charges, $333.34 posted" in output()
    assert "posted up to 2026-11" in output()
    with pytest.raises(CommandError, match="not begun"):
        output("--month", "2027-01")


def test_the_admin_shows_the_schedule_runs_and_reverses(client):
    asset = make_asset()
    client.force_login(make_staff())
    page = client.get(reverse("admin:llm_center_llmdataasset_change", args=[asset.pk])).content.decode()
    assert "333.34" in page
    assert "Carrying value" in page
    run = reverse("admin:llm_center_llmdataasset_amortize")
    assert b"Post 3 charges" in client.get(run).content
    assert not posted()
    assert b"3 charges of $1,000.00 in total posted" in client.post(run, {"month": "2026-11"}, follow=True).content
    newest = AmortizationEntry.objects.latest("period")
    address = reverse("admin:llm_center_amortizationentry_reverse", args=[newest.pk])
    assert b"and credited to 67010" in client.get(address).content
    assert b"charge reversed" in client.post(address, {"reason": "a test"}, follow=True).content
    oldest = AmortizationEntry.objects.earliest("period")
    late = client.post(reverse("admin:llm_center_amortizationentry_reverse", args=[oldest.pk]), {"reason": "a test"})
    assert b"Later months" in late.content
    impair = reverse("admin:llm_center_llmdataasset_event", args=[asset.pk, "impairment"])
    assert b"already posted" in client.post(impair, {"amount": "5", "dated_on": "2026-10-01"}).content
    result = client.post(impair, {"amount": "5", "dated_on": "2026-11-02", "note": "worse than thought"}, follow=True)
    assert b"impairment of $5.00 posted" in result.content, re.findall(rb"kamioi-error[^<]*<", result.content)
    assert client.get(reverse("admin:llm_center_llmdataasset_event", args=[asset.pk, "melting"])).status_code == 404


def test_staff_without_permission_cannot_post(client):
    asset = make_asset()
    clerk = make_user("clerk@kamioi.test", is_staff=True)
    client.force_login(clerk)
    assert client.get(reverse("admin:llm_center_llmdataasset_amortize")).status_code == 403
    assert client.post(reverse("admin:llm_center_llmdataasset_event", args=[asset.pk, "disposal"])).status_code == 403
    assert not AmortizationEntry.objects.exists()


def test_months_of_the_schedule_follow_the_calendar():
    months = schedule(cost=Decimal(5), salvage=Decimal(0), life=14, in_service=date(2025, 12, 31))
    assert [month.period for month in months] == [date(2025, 12, 1) + relativedelta(months=n) for n in range(14)]
