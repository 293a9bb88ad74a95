"""Personal data in this app's tables: customers' proposals and staff decisions."""

from llm_center.models import AmortizationReversal, AssetEvent, LlmMapping, MappingDecision, PendingDecision
from llm_center.services.mapping_log import update_log_row
from transactions.models import User
from transactions.services.privacy import personal_data_table


def _anonymize_proposals(user: User) -> int:
    """Keep the proposals in the log, without their author and text."""
    return update_log_row(LlmMapping.objects.filter(user=user), user=None, ai_reasoning="")


def declare() -> None:
    """Register the tables and how each is erased."""
    personal_data_table(LlmMapping, "blanked", erase=_anonymize_proposals)
    personal_data_table(LlmMapping, "staff", column="decided_by_id")
    personal_data_table(MappingDecision, "staff", column="decided_by_id")
    personal_data_table(MappingDecision, "staff", column="first_reviewer_id")
    personal_data_table(PendingDecision, "staff", column="requested_by_id")
    personal_data_table(AssetEvent, "staff", column="created_by_id")
    personal_data_table(AmortizationReversal, "staff", column="reversed_by_id")
