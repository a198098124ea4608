"""What the routes stand on."""

from dataclasses import dataclass

from orchestrator.api.metrics import Metrics
from orchestrator.service.approvals import ApprovalService
from orchestrator.service.audit import AuditService
from orchestrator.service.branches import BranchService
from orchestrator.service.chain_replays import ChainReplayService
from orchestrator.service.chats import ChatService
from orchestrator.service.conversations import ConversationService
from orchestrator.service.direct_calls import DirectCallService
from orchestrator.service.download_claims import DownloadClaimService
from orchestrator.service.embeddings import EmbeddingService
from orchestrator.service.forks import ForkService
from orchestrator.service.graph import GraphService
from orchestrator.service.instances import InstanceService
from orchestrator.service.integration_checks import IntegrationCheckService
from orchestrator.service.models import ModelService
from orchestrator.service.plugin_materials import PluginMaterialService
from orchestrator.service.plugins import PluginService
from orchestrator.service.prompt_costs import PromptCostService
from orchestrator.service.quotas import Quotas
from orchestrator.service.replays import ReplayService
from orchestrator.service.retelling import TellingService
from orchestrator.service.runs import RunService
from orchestrator.service.threads import ThreadService
from orchestrator.service.tokens import TokenService


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts behind the API: whoever makes it opens them before, and closes them after."""

    chats: ChatService
    approvals: ApprovalService
    graph: GraphService
    tellings: TellingService
    conversations: ConversationService
    prompt_costs: PromptCostService
    threads: ThreadService
    forks: ForkService
    branches: BranchService
    replays: ReplayService
    chain_replays: ChainReplayService
    models: ModelService
    instances: InstanceService
    embeddings: EmbeddingService
    runs: RunService
    downloads: DownloadClaimService
    audit: AuditService
    plugins: PluginService
    calls: DirectCallService
    materials: PluginMaterialService
    checks: IntegrationCheckService
    metrics: Metrics
    tokens: TokenService
    quotas: Quotas
