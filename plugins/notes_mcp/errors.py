"""The one error of the notes: what was asked for cannot be done, and the message says what to do instead."""


class NotesError(Exception):
    """A request that the notes cannot fulfil as it was made."""
