"""The processes that a test has started, whatever an earlier one that failed has left to the process of the tests."""

import psutil


class Started:
    """Those of now that were not there when this was made, with what they started themselves."""

    def __init__(self) -> None:
        self._before = set(psutil.Process().children(recursive=True))

    def all(self) -> list[psutil.Process]:
        return [child for child in psutil.Process().children(recursive=True) if child not in self._before]
