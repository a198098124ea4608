"""The one error of the clock: what was asked for has no answer, and the message says what to ask instead."""


class ClockError(ValueError):
    """A question that the clock cannot answer as it was put."""
