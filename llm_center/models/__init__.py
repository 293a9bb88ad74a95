"""The tables of the LLM Center, one file per subject."""

from llm_center.models.assets import AmortizationEntry, AmortizationReversal, AssetEvent, LlmDataAsset
from llm_center.models.calibration import CalibrationFit
from llm_center.models.calls import LlmCall
from llm_center.models.catalogue import CatalogueBrand
from llm_center.models.decisions import MappingDecision, PendingDecision, ProposalClaim, ReviewMerchant
from llm_center.models.imports import MappingImport, MappingImportKey, MappingImportReject
from llm_center.models.mappings import LlmMapping, MappingDelta

__all__ = [
    "AmortizationEntry",
    "AmortizationReversal",
    "AssetEvent",
    "CalibrationFit",
    "CatalogueBrand",
    "LlmCall",
    "LlmDataAsset",
    "LlmMapping",
    "MappingDecision",
    "MappingDelta",
    "MappingImport",
    "MappingImportKey",
    "MappingImportReject",
    "PendingDecision",
    "ProposalClaim",
    "ReviewMerchant",
]
