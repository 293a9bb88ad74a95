"""Savings goals of customers."""

from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Goal(models.Model):
    """What a customer saves for; amounts in dollars."""

    class Type(models.TextChoices):
        PERSONAL = "personal"
        FAMILY = "family"
        BUSINESS = "business"

    user = models.ForeignKey(
        "transactions.User", on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="goals"
    )
    title = models.CharField(max_length=120)
    target_amount = models.DecimalField(max_digits=14, decimal_places=2)
    current_amount = models.DecimalField(max_digits=14, decimal_places=2, default=Decimal(0))
    goal_type = models.CharField(max_length=10, choices=Type, default=Type.PERSONAL)
    details = models.JSONField(
        default=dict,
        blank=True,
        db_default=models.Value({}, models.JSONField()),
        help_text="What else a front end stores about the goal: description, department, deadline, status.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "goals"
        indexes = [models.Index(fields=["user", "-id"], name="idx_goals_user")]
        constraints = [
            models.CheckConstraint(condition=Q(target_amount__gt=0), name="goals_target_positive"),
            models.CheckConstraint(condition=Q(current_amount__gte=0), name="goals_current_not_negative"),
            models.CheckConstraint(
                condition=Q(goal_type__in=["personal", "family", "business"]), name="goals_type_known"
            ),
        ]

    def __str__(self) -> str:
        return self.title
