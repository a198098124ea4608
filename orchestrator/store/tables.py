"""The tables, but for those of `search_tables.py` and `download_tables.py`. A test keeps them and `migrations/` the same.

Ids and digests are plain text; what people, models and servers write is `AnyText`. A response that
is not stored has its row and its calls' rows, with every content column NULL.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from orchestrator.store.columns import AnyText, UtcDateTime, json_column

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _partial_index(name: str, where: ColumnElement[bool], table: Table, *columns: str, unique: bool = False) -> None:
    """An index of the rows that satisfy `where`: both databases have it, each by a keyword of its own."""
    indexed = (table.c[column] for column in columns)
    Index(name, *indexed, unique=unique, sqlite_where=where, postgresql_where=where)


tool_definitions: Final = Table(
    "tool_definitions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("definition", json_column(), nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
)
"""Every definition that was ever offered, once."""

tool_offers: Final = Table(
    "tool_offers",
    metadata,
    Column("digest", Text, primary_key=True),
    # All names that the chain has given so far, [provider key, tool, name] each: those of tools that
    # are not offered this time stay taken.
    Column("tool_names", json_column(), nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
)
"""What a response offers to the model. The turns of a chain mostly offer the same, and so share one row."""

offered_tools: Final = Table(
    "offered_tools",
    metadata,
    Column("offer_digest", Text, ForeignKey("tool_offers.digest"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tool", AnyText, nullable=False),
    Column("provider_type", Text, nullable=False),
    Column("provider_name", AnyText, nullable=False),
    Column("definition_digest", Text, ForeignKey("tool_definitions.digest"), nullable=False, index=True),
)
"""The tools of an offer, in order, under the names that the model is shown."""

responses: Final = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    # Where it stands in listings: `core/listing.py`.
    Column("number", BigInteger, nullable=False),
    Column("previous_response_id", Text, ForeignKey("responses.id"), index=True),
    Column("root_id", Text, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("token_id", Text),
    Column("model_key", AnyText, nullable=False),
    Column("model_instance_id", AnyText, nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("system_prompt", AnyText),
    Column("parameters", json_column()),
    Column("metadata", json_column()),
    Column("offer_digest", Text, ForeignKey("tool_offers.digest")),
    Column("status", Text, nullable=False),
    # Why it is incomplete, or who cancelled it.
    Column("ending_reason", AnyText),
    Column("error_kind", Text),
    *(Column(f"error_{name}", AnyText) for name in ("message", "param")),
    Column("stats", json_column()),
    # The beginnings of the input and of the last message, for listings.
    *(Column(f"{name}_preview", AnyText) for name in ("input", "output")),
    Column("holder", Text),
    Column("lease_until", UtcDateTime),
    # Until when somebody may decide about its calls, and what its run will need then.
    Column("expires_at", UtcDateTime),
    Column("suspension", json_column()),
    # Why somebody wants it to end; its holder looks for this.
    Column("cancel_reason", AnyText),
    # A branch: `ForkPoint`. The response that it left may be gone by now.
    *(Column(name, Text) for name in ("forked_from", "replay_of")),
    *(Column(f"forked_{name}", Integer) for name in ("position", "rest")),
    Column("warnings", json_column()),
    # Of the conversation up to its end, for clients that send it whole: `core/transcript.py`.
    Column("transcript_digest", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    # They stand with the content that they salt the digests of, and go with it.
    *(Column(f"{name}_salt", LargeBinary) for name in ("input", "output")),
    # Its parent, once the row of that is removed.
    Column("removed_parent_id", Text),
    Index("ix_responses_number", "number", unique=True),
)
"""The graph: a node's parent is `previous_response_id`.

Only nodes `in_progress` have a holder, only nodes `awaiting_approval` an `expires_at`. A deleted
response is one that is not stored, with `deleted_at`.
"""

_partial_index("ix_responses_forked_from", responses.c.forked_from.is_not(None), responses, "forked_from")
_partial_index("ix_responses_replay_of", responses.c.replay_of.is_not(None), responses, "replay_of")
_partial_index("ix_responses_in_progress", responses.c.status == "in_progress", responses, "holder", "lease_until")
_partial_index("ix_responses_awaiting_approval", responses.c.status == "awaiting_approval", responses, "expires_at")
_STORED: Final = responses.c.stored.is_(True)
_partial_index("ix_responses_stored_number", _STORED, responses, "number")
_partial_index("ix_responses_owner_number", _STORED, responses, "owner", "number")
_partial_index("ix_responses_owner_status_number", _STORED, responses, "owner", "status", "number")
_partial_index("ix_responses_status_number", _STORED, responses, "status", "number")
_partial_index("ix_responses_root_id_depth_number", _STORED, responses, "root_id", "depth", "number")

_TOLD: Final = responses.c.transcript_digest.is_not(None)
_partial_index("ix_responses_owner_transcript_digest_number", _TOLD, responses, "owner", "transcript_digest", "number")

blobs: Final = Table(
    "blobs",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("content", AnyText, nullable=False),
)
"""What is too large for the rows that refer to it, once each: images, long inputs, long outputs of tools."""

input_items: Final = Table(
    "input_items",
    metadata,
    Column("response_id", Text, ForeignKey("responses.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("type", Text, nullable=False),
    Column("content", AnyText),
    Column("blob_digest", Text, ForeignKey("blobs.digest")),
    # Whose resource or prompt it is, where the user did not write it.
    Column("origin", json_column()),
    # What a type has of its own: who speaks, where a message begins, which call it is or answers.
    Column("details", json_column()),
    sqlite_with_rowid=False,  # a chain is read by this key: one search an item instead of two
)
"""What was said before the model wrote, in order, mostly by the user."""

_partial_index("ix_input_items_blob_digest", input_items.c.blob_digest.is_not(None), input_items, "blob_digest")

tool_calls: Final = Table(
    "tool_calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("response_id", Text, ForeignKey("responses.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("token_id", Text),
    Column("model_key", AnyText, nullable=False),
    Column("model_name", AnyText, nullable=False),
    Column("arguments_text", AnyText),
    Column("arguments", json_column()),
    Column("tool", AnyText),
    Column("provider_type", Text),
    Column("provider_name", AnyText),
    # Who stands behind the label, as far as it was connected.
    *(Column(f"server_{name}", AnyText) for name in ("address", "name", "version")),
    Column("definition_digest", Text, ForeignKey("tool_definitions.digest")),
    Column("reason", AnyText),
    Column("status", Text, nullable=False),
    # A long text is in `blobs`, its column NULL.
    Column("output", AnyText),
    Column("output_digest", Text, ForeignKey("blobs.digest")),
    Column("structured", AnyText),
    Column("structured_digest", Text, ForeignKey("blobs.digest")),
    Column("shown", AnyText),
    Column("is_error", Boolean, nullable=False),
    Column("duration_ms", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    # They stand with the content that they salt the digests of, and go with it.
    Column("arguments_salt", LargeBinary),
    Column("output_salt", LargeBinary),
    UniqueConstraint("response_id", "position"),
    Index(None, "created_at", "call_id"),
    # What the audit filters by, each in the order in which it lists.
    Index(None, "owner", "created_at", "call_id"),
    Index(None, "tool", "created_at", "call_id"),
    Index(None, "provider_name", "created_at", "call_id"),
    Index(None, "server_address", "created_at", "call_id"),
    Index(None, "model_key", "created_at", "call_id"),
    Index(None, "definition_digest", "created_at", "call_id"),
    Index(None, "status", "created_at", "call_id"),
    Index(None, "duration_ms", "created_at", "call_id"),
)
"""The journal. A row changes once, from `journaled` or `awaiting_approval` to its outcome; after that only its content may go.

Triggers of the migrations hold every writer to that, ours and any other.
"""

_partial_index("ix_tool_calls_is_error", tool_calls.c.is_error, tool_calls, "created_at", "call_id")

call_arguments: Final = Table(
    "call_arguments",
    metadata,
    Column("path", AnyText, primary_key=True),
    # Compared byte by byte, so that a prefix is a range.
    Column("value", AnyText().with_variant(AnyText(collation="C"), "postgresql"), primary_key=True),
    Column("created_at", UtcDateTime, primary_key=True),
    Column("call_id", Text, primary_key=True, index=True),
    sqlite_with_rowid=False,
)
"""The beginning of every scalar argument by its path: the index by which the audit finds arguments.

A trigger empties it of a call whose arguments are deleted; others refuse every other change.
"""

audit_chain: Final = Table(
    "audit_chain",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("content_digest", LargeBinary),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("call_id", "kind"),
    sqlite_with_rowid=False,
)
"""The links, one chain an owner: `audit_links` says what each commits to. Triggers keep it append-only."""

audit_heads: Final = Table(
    "audit_heads",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    # The head that the last checkpoint has.
    Column("checkpointed", BigInteger, nullable=False),
)
"""The last link of every chain, which whoever appends locks."""

audit_events: Final = Table(
    "audit_events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("token_id", Text),
    Column("details", AnyText, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""The service's own chain: checkpoints of the owners' heads, readings of others' calls, deletions. Append-only."""

tool_call_approvals: Final = Table(
    "tool_call_approvals",
    metadata,
    Column("call_id", Text, ForeignKey("tool_calls.call_id"), primary_key=True),
    Column("decision", Text, nullable=False),
    Column("reason", AnyText),
    # What the call runs with where somebody edited the model's arguments.
    Column("arguments", json_column()),
    # Nobody where the time to decide was over.
    Column("owner", Text),
    Column("token_id", Text),
    Column("decided_at", UtcDateTime, nullable=False),
    # As those of the journal: it stands with the reason and the arguments, and goes with them.
    Column("salt", LargeBinary),
)
"""What was decided about calls that needed approval: `approve` or `deny`, once."""
_partial_index("ix_tool_calls_output_digest", tool_calls.c.output_digest.is_not(None), tool_calls, "output_digest")
_partial_index(
    "ix_tool_calls_structured_digest", tool_calls.c.structured_digest.is_not(None), tool_calls, "structured_digest"
)

output_items: Final = Table(
    "output_items",
    metadata,
    Column("response_id", Text, ForeignKey("responses.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("turn", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("content", AnyText),
    Column("call_id", Text, ForeignKey("tool_calls.call_id")),
    # JSON in ASCII, as `token_logprobs.py` has it.
    Column("logprobs", Text),
    sqlite_with_rowid=False,
)
"""What the model wrote, in order; a call's row only refers to the journal, a branch's to that of another response."""

_partial_index("ix_output_items_call_id", output_items.c.call_id.is_not(None), output_items, "call_id")

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("owner", Text, nullable=False),
    Column("permissions", json_column(), nullable=False),
    Column("secret_digest", LargeBinary, nullable=False),
    # Which encryption key it was made with; NULL is a plain digest, from before there were keys.
    Column("secret_key_id", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("limits", json_column()),
    # Its name as long as the name is its own: NULL once it is revoked, or replaced and going on for its grace.
    Column("live_name", AnyText, unique=True),
    Column("lineage", Text),
)
"""API tokens, without their secrets."""

token_usage: Final = Table(
    "token_usage",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("output_tokens", BigInteger, nullable=False),
)
"""What was generated for each account on each day of UTC, by all processes together.

An account is the first token of those that came of one another by rotation.
"""

token_accounts: Final = Table(
    "token_accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
)
"""How many requests each account with a limit has made. Its row is the lock of all that is counted for it."""

token_requests: Final = Table(
    "token_requests",
    metadata,
    Column("account", Text, primary_key=True),
    Column("slot", BigInteger, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)
"""When an account made its last requests, as a ring of as many as it may make in 60 seconds."""

token_runs: Final = Table(
    "token_runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False, index=True),
    Column("day", Date, nullable=False),
    # What of the day's output tokens is kept for it; NULL where its token has no such limit.
    Column("reserved", BigInteger),
    Column("lease_until", UtcDateTime, nullable=False),
)
"""Runs under way of accounts with a limit, in all processes; one whose lease is over counts no more."""

oauth_credentials: Final = Table(
    "oauth_credentials",
    metadata,
    Column("key", Text, primary_key=True),
    Column("plugin_id", AnyText, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    # Which encryption key it was sealed with: a fingerprint, so that a lost one can be named.
    Column("encryption_key_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
)
"""Logins of plugins at their authorization servers, encrypted; who renews one claims it first."""

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("identity", AnyText, nullable=False),
    Column("model", AnyText, nullable=False),
    Column("quantization", AnyText),
    Column("source", Text, nullable=False),
    Column("reference", AnyText, nullable=False),
    Column("revision", AnyText),
    Column("files", json_column(), nullable=False),
    Column("state", Text, nullable=False),
    Column("downloaded_bytes", BigInteger, nullable=False),
    Column("total_size_bytes", BigInteger),
    Column("error_kind", Text),
    Column("error_message", AnyText),
    Column("error_param", Text),
    Column("holder", Text),
    Column("lease_until", UtcDateTime),
    Column("started_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime),
)
"""Downloads of models."""

_unfinished = jobs.c.state.in_(("queued", "downloading", "paused"))
_partial_index("uq_jobs_identity_unfinished", _unfinished, jobs, "identity", unique=True)
_partial_index("ix_jobs_active", jobs.c.state.in_(("queued", "downloading")), jobs, "started_at")

pinned_definitions: Final = Table(
    "pinned_definitions",
    metadata,
    Column("plugin_id", AnyText, primary_key=True),
    Column("tool", AnyText, primary_key=True),
    Column("digest", Text, ForeignKey("tool_definitions.digest"), nullable=False),
    Column("pinned_at", UtcDateTime, nullable=False),
    Column("approved_by", Text),
)
"""The definition that each tool of a plugin may show."""

definition_changes: Final = Table(
    "definition_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("plugin_id", AnyText, nullable=False),
    Column("tool", AnyText, nullable=False),
    Column("kind", Text, nullable=False),
    Column("old_digest", Text, ForeignKey("tool_definitions.digest")),
    Column("new_digest", Text, ForeignKey("tool_definitions.digest")),
    Column("policy", Text, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("outcome", Text),
    Column("settled_at", UtcDateTime),
    Column("settled_by", Text),
    Index(None, "plugin_id", "id"),
)
"""How definitions differed from the pinned ones when they were seen; one without an outcome waits for an approval."""
