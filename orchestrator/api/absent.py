"""What a body leaves out is absent on the wire (UNSET), and None inside."""

from typing import TypeVar

from msgspec import UNSET, UnsetType

V = TypeVar("V")


def given(value: V | UnsetType) -> V | None:
    """What a client sent, None where it sent nothing."""
    return None if isinstance(value, UnsetType) else value


def or_absent(value: V | None) -> V | UnsetType:
    """What is told to a client, left out where there is nothing."""
    return UNSET if value is None else value
