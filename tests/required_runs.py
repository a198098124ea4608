"""A pytest plugin: a session that was to run tests against a real Ollama fails when none of them ran."""

import os
from typing import Final

import pytest

VARIABLE: Final = "ORCHESTRATOR_TEST_OLLAMA"
MARK: Final = "ollama"
WANTED: Final = "wants-ollama"


def pytest_configure(config: pytest.Config) -> None:
    """Demand them where an Ollama is named; of several processes the one that hears of all tests does."""
    if os.environ.get(VARIABLE) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(RequiredRuns(), "required-runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the reports say which tests want one: they reach the process that counts."""
    for item in items:
        if item.get_closest_marker(MARK) is not None:
            item.user_properties.append((WANTED, True))


class RequiredRuns:
    """Counts the tests that want a real Ollama, and those that came as far as using it."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._ran: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test ran where its own part was reached; a failure on the way there is told by itself."""
        if any(name == WANTED for name, _ in report.user_properties):
            self._wanted.add(report.nodeid)
            if not report.skipped and (report.when == "call" or report.failed):
                self._ran.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Before the closing line, so that it is the exit status, too."""
        if self._none_ran() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why it failed."""
        if self._none_ran():
            count = len(self._wanted)
            terminalreporter.write_line(f"{VARIABLE} is set, and none of the {count} tests that want it ran", red=True)

    def _none_ran(self) -> bool:
        return bool(self._wanted) and not self._ran
