"""Ids, all from a cryptographic source. Source: the head of the contract."""

import secrets


def new_response_id() -> str:
    """`resp_` and 48 hex digits."""
    return f"resp_{secrets.token_hex(24)}"


def new_thread_id() -> str:
    """`thread_` and 48 hex digits."""
    return f"thread_{secrets.token_hex(24)}"


def new_call_id() -> str:
    """`call_` and 24 hex digits."""
    return f"call_{secrets.token_hex(12)}"


def new_elicitation_id() -> str:
    """`elicit_` and 24 hex digits."""
    return f"elicit_{secrets.token_hex(12)}"


def new_export_id() -> str:
    """`export_` and 24 hex digits."""
    return f"export_{secrets.token_hex(12)}"


def new_job_id() -> str:
    """`job_` and 10 hex digits."""
    return f"job_{secrets.token_hex(5)}"
