"""Tombolo: offline-first, end-to-end encrypted documents that merge.

Open a replica, edit documents with no network at all, and have them reconciled through a relay that can read nothing::

    async with await tombolo.Replica.open("notes.tombolo") as replica:
        workspace = await replica.create_workspace("Field notes")
        document = await workspace.create_document(tombolo.Crdt.YRS)
        async with document.edit() as edit:
            edit.put("title", "Reef survey")
            edit.text("body").append("Low tide at six.")
        print(await document.read("title"))

Each call that fails raises a :class:`TomboloError`; its variants say whose fault it is.
"""

from ._ffi import (
    ActOutcome,
    Alarm,
    AlarmKind,
    AuditLine,
    Crdt,
    DebtReason,
    Denial,
    DeviceDescription,
    DocumentDebt,
    DocumentFault,
    DocumentStatistics,
    DocumentSummary,
    Durability,
    Identity,
    InviteTerms,
    JoinRefusal,
    KeyPlace,
    KeyVault,
    Levels,
    LinkApproval,
    LinkRequest,
    LinkWay,
    LogLevel,
    Member,
    MembershipAct,
    Milestone,
    Missing,
    MisuseFault,
    OpenInvite,
    OrganisationRecovery,
    Origin,
    Patch,
    PatchAction,
    PathStep,
    Platform,
    Policy,
    PolicyTerms,
    Reachability,
    ReasonCount,
    RecoveryKit,
    RelayDescription,
    RelayEvidence,
    RelayStatus,
    ReplicaEvent,
    Role,
    SetAside,
    SetAsideReason,
    StepUp,
    StepUpLevel,
    StepUpMethod,
    StepUpQuestion,
    StepUpRefusal,
    StoreFault,
    Subscription,
    SyncDebt,
    TomboloError,
    Typed,
    Unsent,
    VaultError,
    Wanted,
    WorkspaceState,
    WorkspaceSummary,
    describe_debt,
    describe_set_aside,
    live_object_count,
)
from .document import Changed, Current, Document, DocumentEvent
from .edits import CounterEdit, ListEdit, MapEdit, TextEdit
from .events import Events
from .logs import log_to
from .replica import Replica, Workspace
from .values import Counter, Plain, Text, Timestamp, utf16_index

__all__ = sorted(name for name in dir() if not name.startswith("_") and name[0].isupper()) + [
    "describe_debt",
    "describe_set_aside",
    "live_object_count",
    "log_to",
    "utf16_index",
]
