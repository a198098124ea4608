"""What is known of a model in memory, and what is done with those that nobody uses."""

from dataclasses import dataclass, field

import anyio

from orchestrator.core.models import LoadConfig, Model
from orchestrator.ports import Engine
from orchestrator.service.fair_queue import FairQueue


@dataclass(frozen=True, slots=True)
class InstancePolicy:
    """`ttl_seconds` is how long an idle just-in-time instance stays, None for ever."""

    jit_loading: bool = True
    ttl_seconds: float | None = 3600
    auto_evict: bool = True
    keep_only_last: bool = False
    max_queued: int = 64


@dataclass(slots=True, eq=False)
class Instance:
    """A model in memory, or on its way there. `explicit` ones were asked for by a load and stay until unloaded."""

    id: str
    engine: Engine
    model: Model
    explicit: bool
    ttl_seconds: float | None
    config: LoadConfig = field(default_factory=LoadConfig)
    users: int = 0
    ready: bool = False
    leaving: bool = False
    idle_since: float = 0.0
    queue: FairQueue | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def tell(self) -> None:
        """Wake who waits for the end of a use, or of the instance."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an explicit load reports."""

    instance: Instance
    load_seconds: float
