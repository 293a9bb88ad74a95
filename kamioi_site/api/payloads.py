"""The payloads that all responses share."""

from typing import Generic, NotRequired, TypedDict, TypeVar

T = TypeVar("T")


class SuccessOutput(TypedDict):
    """A successful request."""

    success: bool


class MessageOutput(SuccessOutput):
    """A successful request with a message for the user."""

    message: str


class Data(SuccessOutput, Generic[T]):
    """A successful request with its result."""

    data: T


class ErrorOutput(TypedDict):
    """A refused request. `errors` names the invalid fields."""

    success: bool
    error: str
    errors: NotRequired[dict[str, list[str]]]
