"""The command line."""


def main() -> None:
    """The command `orchestrator`."""
    from orchestrator.cli.commands import orchestrator

    orchestrator()
