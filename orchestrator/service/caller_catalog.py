"""Integrations as one caller opens them: with the caller's own token, for the servers that it is passed on to."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from orchestrator.core.request import IntegrationRequest
from orchestrator.ports import IntegrationCatalog, IntegrationSession, RunScope
from orchestrator.service.callers import Caller


def as_caller(catalog: IntegrationCatalog, caller: Caller) -> IntegrationCatalog:
    """`catalog`, as `caller` opens it. The token stays in memory, and no longer than what was made of this."""
    return catalog if caller.token is None else _CallersCatalog(catalog, caller.token)


@dataclass(frozen=True, slots=True, repr=False)
class _CallersCatalog:
    catalog: IntegrationCatalog
    token: str

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        self.catalog.check(integrations)

    def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AbstractAsyncContextManager[Sequence[IntegrationSession]]:
        return self.catalog.open(integrations, replace(scope, caller_token=self.token))
