# Made by `cargo xtask bindings generate`: what apps in other languages see, as Python has it.
import datetime
import enum
from dataclasses import dataclass

class ActOutcome:
    class STATED(ActOutcome):
        def __init__(self, v0: RecordId, /) -> None: ...
        def __getitem__(self, index: int) -> RecordId: ...
    class INTENDED(ActOutcome): ...

@dataclass(kw_only=True, match_args=False)
class Alarm:
    kind: AlarmKind
    since_ms: int

class AlarmKind:
    @dataclass(match_args=False)
    class CLONE_SUSPECTED(AlarmKind):
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class LINK_FAILED(AlarmKind):
        device: DeviceId

@dataclass(kw_only=True, match_args=False)
class AuditLine:
    text: str
    json: str

class Cancellation:
    def __init__(self) -> None: ...
    def cancel(self) -> None: ...

class Crdt(enum.Enum):
    AUTOMERGE = 0
    YRS = 1

class DebtReason:
    class NO_RELAY(DebtReason): ...
    class OFFLINE(DebtReason): ...
    class CATCHING_UP(DebtReason): ...
    class UNDER_WAY(DebtReason): ...
    class NEEDS_TOKEN(DebtReason): ...
    class NEEDS_BINDING(DebtReason): ...
    class NEEDS_SECOND_FACTOR(DebtReason):
        def __init__(self, v0: int, /) -> None: ...
        def __getitem__(self, index: int) -> int: ...
    class REFUSED(DebtReason):
        def __init__(self, v0: SetAsideReason, /) -> None: ...
        def __getitem__(self, index: int) -> SetAsideReason: ...
    class AWAITING_KEY(DebtReason): ...
    class DAMAGED(DebtReason): ...

class Denial(enum.Enum):
    ROLE = 0
    RECORDS = 1
    POLICY = 2
    NO_ROOT = 3

@dataclass(kw_only=True, match_args=False)
class DeviceDescription:
    id: DeviceId
    name: str | None
    platform: Platform
    is_this: bool
    added: DeviceId | None
    revoked: bool

DeviceId = str

class Document:
    async def edit(self, edits: list[Edit]) -> None: ...
    def id(self) -> DocumentId: ...
    async def keys(self) -> list[str]: ...
    async def read(self, path: list[PathStep]) -> Value | None: ...
    async def read_many(self, paths: list[list[PathStep]]) -> list[Value | None]: ...
    async def read_with_kept(self, path: list[PathStep]) -> Value | None: ...
    async def seen_by(self, device: DeviceId, cancellation: Cancellation | None = ...) -> None: ...
    async def statistics(self) -> DocumentStatistics: ...
    async def subscribe(self, listener: DocumentListener) -> Subscription: ...
    async def version(self) -> bytes: ...
    async def wait_for(self, milestone: Milestone, cancellation: Cancellation | None = ...) -> None: ...

@dataclass(kw_only=True, match_args=False)
class DocumentDebt:
    document: DocumentId | None
    pending_changes: int
    unplaced_entries: int
    since_ms: int | None
    reason: DebtReason

class DocumentEvent:
    @dataclass(match_args=False)
    class CURRENT(DocumentEvent):
        value: Value
    @dataclass(match_args=False)
    class CHANGED(DocumentEvent):
        patches: list[Patch]
        author: DeviceId | None
        origin: Origin

class DocumentFault(enum.Enum):
    UNBUILDABLE = 0
    DAMAGED = 1
    POISONED = 2

DocumentId = str

class DocumentListener:
    def on_events(self, events: list[DocumentEvent]) -> None: ...
    def on_end(self) -> None: ...

@dataclass(kw_only=True, match_args=False)
class DocumentStatistics:
    memory_bytes: int
    queued: int
    entries: int
    entry_bytes: int
    tail_entries: int
    saved_bytes: int
    set_aside: int
    set_aside_bytes: int
    pending: int
    pending_bytes: int
    live_bytes: int
    overhead_bytes: int

@dataclass(kw_only=True, match_args=False)
class DocumentSummary:
    id: DocumentId
    crdt: Crdt
    app_type: str

class Durability(enum.Enum):
    POWER = 0
    PROCESS = 1

class Edit:
    @dataclass(match_args=False)
    class PUT(Edit):
        path: list[PathStep]
        value: Value
    @dataclass(match_args=False)
    class DELETE(Edit):
        path: list[PathStep]
    @dataclass(match_args=False)
    class INSERT(Edit):
        path: list[PathStep]
        index: int
        values: list[Value]
    @dataclass(match_args=False)
    class APPEND(Edit):
        path: list[PathStep]
        values: list[Value]
    @dataclass(match_args=False)
    class REMOVE(Edit):
        path: list[PathStep]
        index: int
        count: int
    @dataclass(match_args=False)
    class SPLICE_TEXT(Edit):
        path: list[PathStep]
        index: int
        removed: int
        inserted: str
    @dataclass(match_args=False)
    class APPEND_TEXT(Edit):
        path: list[PathStep]
        inserted: str
    @dataclass(match_args=False)
    class INCREMENT(Edit):
        path: list[PathStep]
        by: int

EntryHash = str

class EvidenceKind(enum.Enum):
    FORK = 0
    WITHHELD = 1

@dataclass(kw_only=True, match_args=False)
class Identity:
    device: DeviceId
    user: UserId

@dataclass(kw_only=True, match_args=False)
class InviteTerms:
    role: Role
    expires_ms: int | None
    uses: int | None

class JoinRefusal(enum.Enum):
    USED_UP = 0
    EXPIRED = 1
    ENDED = 2

class KeyPlace:
    class FILE(KeyPlace): ...
    @dataclass(match_args=False)
    class PASSPHRASE(KeyPlace):
        passphrase: str
    class MEMORY(KeyPlace): ...
    @dataclass(match_args=False)
    class VAULT(KeyPlace):
        vault: KeyVault

class KeyVault:
    def load(self) -> bytes | None: ...
    def save(self, key: bytes) -> None: ...

@dataclass(kw_only=True, match_args=False)
class Levels:
    open: int
    append: int
    invite: int
    membership: int

class LinkApproval:
    async def asked(self) -> DeviceId: ...
    async def cancel(self) -> None: ...
    async def confirm(self, digits: str) -> None: ...

class LinkRequest:
    async def cancel(self) -> None: ...
    async def digits(self) -> str: ...
    async def linked(self) -> UserId: ...
    def text(self) -> str: ...

class LinkWay(enum.Enum):
    SCAN = 0
    CODE = 1

LogId = str

class LogLevel(enum.Enum):
    ERROR = 0
    WARN = 1
    INFO = 2
    DEBUG = 3
    TRACE = 4

@dataclass(kw_only=True, match_args=False)
class LogLine:
    level: LogLevel
    target: str
    text: str

class LogSink:
    def on_lines(self, lines: list[LogLine]) -> None: ...

@dataclass(kw_only=True, match_args=False)
class Member:
    user: UserId
    role: Role
    expires_ms: int | None
    devices: list[DeviceId]

class MembershipAct:
    @dataclass(match_args=False)
    class SET_ROLE(MembershipAct):
        user: UserId
        role: Role
        expires_ms: int | None
    @dataclass(match_args=False)
    class REMOVE(MembershipAct):
        user: UserId
    @dataclass(match_args=False)
    class TRANSFER_OWNERSHIP(MembershipAct):
        to: UserId
    @dataclass(match_args=False)
    class REVOKE_INVITE(MembershipAct):
        invite: RecordId
    class SET_POLICY(MembershipAct):
        def __init__(self, v0: PolicyTerms, /) -> None: ...
        def __getitem__(self, index: int) -> PolicyTerms: ...
    class SET_ORGANISATION_RECOVERY(MembershipAct):
        def __init__(self, v0: OrganisationRecovery | None, /) -> None: ...
        def __getitem__(self, index: int) -> OrganisationRecovery | None: ...

class Milestone:
    class LOCAL(Milestone): ...
    class SENT(Milestone): ...
    class RELAY_DURABLE(Milestone): ...
    class SEEN_BY(Milestone):
        def __init__(self, v0: DeviceId, /) -> None: ...
        def __getitem__(self, index: int) -> DeviceId: ...

class Missing(enum.Enum):
    MEMBERSHIP = 0
    RELAY = 1

class MisuseFault(enum.Enum):
    OUT_OF_RANGE = 0
    SPLITS_CHARACTER = 1
    WRONG_KIND = 2
    COUNTER_OVERFLOW = 3
    BAD_PATH = 4
    TOO_DEEP = 5
    TOO_LARGE = 6
    UNSUPPORTED = 7
    BAD_ID = 8
    NOT_EMPTY = 9
    LOG_TAKEN = 10

@dataclass(kw_only=True, match_args=False)
class OpenInvite:
    id: RecordId
    maker: UserId
    terms: InviteTerms
    used: int

@dataclass(kw_only=True, match_args=False)
class OpenOptions:
    path: str
    key: KeyPlace | None = ...
    durability: Durability | None = ...
    memory_bytes: int | None = ...
    snapshot_entries: int | None = ...
    compact_after: datetime.timedelta | None = ...
    app_type: str | None = ...
    trusted_roots: list[bytes] = ...
    offline: bool = ...

@dataclass(kw_only=True, match_args=False)
class OrganisationRecovery:
    user: UserId
    box_public: PublicKey

class Origin(enum.Enum):
    LOCAL = 0
    REMOTE = 1

@dataclass(kw_only=True, match_args=False)
class Patch:
    path: list[PathStep]
    action: PatchAction

class PatchAction:
    @dataclass(match_args=False)
    class PUT(PatchAction):
        value: Value
    class DELETE(PatchAction): ...
    @dataclass(match_args=False)
    class INSERT(PatchAction):
        values: list[Value]
    @dataclass(match_args=False)
    class REMOVE(PatchAction):
        count: int
    @dataclass(match_args=False)
    class SPLICE_TEXT(PatchAction):
        index: int
        removed: int
        inserted: str
    @dataclass(match_args=False)
    class INCREMENT(PatchAction):
        by: int
    class REREAD(PatchAction): ...

class PathStep:
    @dataclass(match_args=False)
    class KEY(PathStep):
        key: str
    @dataclass(match_args=False)
    class INDEX(PathStep):
        index: int

class Platform(enum.Enum):
    UNKNOWN = 0
    LINUX = 1
    MAC_OS = 2
    WINDOWS = 3
    ANDROID = 4
    IOS = 5
    WEB = 6

@dataclass(kw_only=True, match_args=False)
class Policy:
    levels: Levels
    relays: list[RelayId]
    needs_binding: bool
    recovery: OrganisationRecovery | None

@dataclass(kw_only=True, match_args=False)
class PolicyTerms:
    levels: Levels
    relays: list[RelayId]
    needs_binding: bool

PublicKey = bytes

class Reachability(enum.Enum):
    REACHABLE = 0
    UNREACHABLE = 1

@dataclass(kw_only=True, match_args=False)
class ReasonCount:
    reason: SetAsideReason
    count: int

RecordId = str

class RecoveryKit:
    @classmethod
    async def from_file(cls, bytes: bytes, passphrase: str) -> RecoveryKit: ...
    @classmethod
    def from_shares(cls, shares: list[str]) -> RecoveryKit: ...
    @classmethod
    def from_words(cls, words: str) -> RecoveryKit: ...
    async def file(self, passphrase: str) -> bytes: ...
    def organisation(self) -> OrganisationRecovery: ...
    def relays(self) -> list[str]: ...
    def shares(self, need: int, of: int) -> list[str]: ...
    def sheet(self, date: str) -> str: ...
    def user(self) -> UserId: ...
    def words(self) -> str: ...

@dataclass(kw_only=True, match_args=False)
class RelayDescription:
    address: str
    status: RelayStatus

@dataclass(kw_only=True, match_args=False)
class RelayEvidence:
    relay: RelayId
    log: LogId
    position: int
    kind: EvidenceKind
    ours: bytes | None
    theirs: bytes
    since_ms: int

RelayId = str

class RelayStatus:
    @dataclass(match_args=False)
    class OFFLINE(RelayStatus):
        retry_in: datetime.timedelta | None
        reason: str | None
        proven: bool
    class DIALLING(RelayStatus): ...
    @dataclass(match_args=False)
    class ONLINE(RelayStatus):
        relay: RelayId

class Replica:
    @classmethod
    async def open(cls, options: OpenOptions) -> Replica: ...
    @classmethod
    async def recover(cls, kit: RecoveryKit, options: OpenOptions) -> Replica: ...
    async def alarms(self) -> list[Alarm]: ...
    async def approve_link(self, text: str) -> LinkApproval: ...
    async def confirm_kit(self, kit: RecoveryKit) -> None: ...
    async def counters(self) -> list[ReasonCount]: ...
    async def create_workspace(self, name: str) -> Workspace: ...
    async def devices(self) -> list[DeviceDescription]: ...
    async def dial(self, address: str, allow_proxy: bool, token: str | None) -> None: ...
    async def dismiss_alarms(self) -> None: ...
    def document(self, id: DocumentId) -> Document: ...
    async def forget_workspace(self, id: WorkspaceId, unsent: Unsent) -> None: ...
    async def identity(self) -> Identity: ...
    async def join(self, invite: str) -> Workspace: ...
    async def notify_network(self, reachability: Reachability) -> None: ...
    async def pause(self) -> None: ...
    async def recovery_kit(self) -> RecoveryKit: ...
    async def relays(self) -> list[RelayDescription]: ...
    async def rename_device(self, device: DeviceId, name: str) -> None: ...
    async def request_link(self, address: str, way: LinkWay) -> LinkRequest: ...
    async def resume(self) -> None: ...
    async def revoke_device(self, device: DeviceId) -> None: ...
    async def shutdown(self) -> None: ...
    async def subscribe(self, listener: ReplicaListener) -> Subscription: ...
    async def sync_once(self, deadline: datetime.timedelta, cancellation: Cancellation | None = ...) -> None: ...
    def workspace(self, id: WorkspaceId) -> Workspace: ...
    async def workspaces(self) -> list[WorkspaceSummary]: ...

class ReplicaEvent:
    @dataclass(match_args=False)
    class CURRENT(ReplicaEvent):
        workspaces: list[WorkspaceSummary]
        relays: list[RelayDescription]
    @dataclass(match_args=False)
    class ROLE_CHANGED(ReplicaEvent):
        workspace: WorkspaceId
        role: Role | None
    @dataclass(match_args=False)
    class MEMBERS_CHANGED(ReplicaEvent):
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class POLICY_CHANGED(ReplicaEvent):
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class ORGANISATION_RECOVERY_CHANGED(ReplicaEvent):
        workspace: WorkspaceId
        user: UserId | None
    @dataclass(match_args=False)
    class ACT_REFUSED(ReplicaEvent):
        workspace: WorkspaceId
        act: MembershipAct
    @dataclass(match_args=False)
    class DOCUMENT_ADDED(ReplicaEvent):
        workspace: WorkspaceId
        document: DocumentId
    @dataclass(match_args=False)
    class JOINED(ReplicaEvent):
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class JOIN_REFUSED(ReplicaEvent):
        workspace: WorkspaceId
        refusal: JoinRefusal | None
    @dataclass(match_args=False)
    class WORKSPACE_FORGOTTEN(ReplicaEvent):
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class RELAY(ReplicaEvent):
        address: str
        status: RelayStatus
    @dataclass(match_args=False)
    class IN_STEP(ReplicaEvent):
        workspace: WorkspaceId
        address: str
    @dataclass(match_args=False)
    class SET_ASIDE(ReplicaEvent):
        workspace: WorkspaceId
        entry: SetAside
    @dataclass(match_args=False)
    class CHANGES_DAMAGED(ReplicaEvent):
        workspace: WorkspaceId
        document: DocumentId | None
        changes: int
    @dataclass(match_args=False)
    class MENDED(ReplicaEvent):
        workspace: WorkspaceId
        document: DocumentId | None
    @dataclass(match_args=False)
    class RELAY_REPLACED(ReplicaEvent):
        address: str
        before: RelayId
        after: RelayId
    @dataclass(match_args=False)
    class RELAY_ROLLBACK(ReplicaEvent):
        address: str
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class RELAY_FORK(ReplicaEvent):
        address: str
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class WITHHELD(ReplicaEvent):
        address: str
        workspace: WorkspaceId
    @dataclass(match_args=False)
    class STEP_UP_WANTED(ReplicaEvent):
        address: str
        workspace: WorkspaceId
        needed: int
        have: int
    @dataclass(match_args=False)
    class DEVICE_LINKED(ReplicaEvent):
        device: DeviceId
        name: str | None
    @dataclass(match_args=False)
    class DEVICE_REVOKED(ReplicaEvent):
        device: DeviceId
    @dataclass(match_args=False)
    class LINKED(ReplicaEvent):
        user: UserId
    @dataclass(match_args=False)
    class LINK_FAILED(ReplicaEvent):
        reason: str
    class RECOVERY_KIT_MISSING(ReplicaEvent): ...
    @dataclass(match_args=False)
    class RECOVERED(ReplicaEvent):
        workspaces: int
    @dataclass(match_args=False)
    class CLONE_SUSPECTED(ReplicaEvent):
        workspace: WorkspaceId

class ReplicaListener:
    def on_events(self, events: list[ReplicaEvent]) -> None: ...
    def on_end(self) -> None: ...

class Role(enum.Enum):
    CARRIER = 0
    READER = 1
    COMMENTER = 2
    WRITER = 3
    ADMIN = 4
    OWNER = 5

@dataclass(kw_only=True, match_args=False)
class SetAside:
    document: DocumentId | None
    author: DeviceId
    seq: int
    hash: EntryHash
    reason: SetAsideReason
    since_ms: int

class SetAsideReason(enum.Enum):
    MALFORMED = 0
    BAD_SIGNATURE = 1
    DUPLICATE = 2
    GAP = 3
    UNKNOWN_RECORD = 4
    PENDING_KEY = 5
    TOO_MUCH_HELD = 6
    OTHER_WORKSPACE = 7
    UNKNOWN_AUTHOR = 8
    ROLE_DENIED = 9
    MEMBERSHIP_REGRESSION = 10
    EPOCH_MISMATCH = 11
    FORK = 12
    DECRYPT = 13
    PADDING = 14
    MALFORMED_BODY = 15
    CRDT_MISMATCH = 16
    OTHER_DOCUMENT = 17
    ACTOR_MISMATCH = 18
    POISON = 19
    RECORD_REFUSED = 20
    RELAY_FORK = 21
    RELAY_ROLLBACK = 22
    UNSUPPORTED_VERSION = 23
    AUTH_FAILED = 24
    INVITE_NOT_VALID = 25
    QUOTA_EXCEEDED = 26
    DAMAGED = 27
    WITHHELD = 28
    SECOND_FACTOR_REQUIRED = 29
    BEYOND_PIN = 30
    EXCLUDED = 31
    WEAK_KEY = 32
    SNAPSHOT_MISMATCH = 33

class StepUp:
    async def prove(self, proof: str) -> StepUpLevel: ...
    async def question(self) -> StepUpQuestion: ...

@dataclass(kw_only=True, match_args=False)
class StepUpLevel:
    level: int
    until_ms: int

class StepUpMethod(enum.Enum):
    USER_VERIFIED = 0
    TOTP = 1
    OIDC = 2

@dataclass(kw_only=True, match_args=False)
class StepUpQuestion:
    method: StepUpMethod
    enrolment: str | None
    nonce: str
    issuer: str | None
    audience: str | None

class StepUpRefusal(enum.Enum):
    NOT_OFFERED = 0
    NO_CHALLENGE = 1
    WRONG = 2
    REPLAYED = 3
    TOO_MANY = 4
    OTHER_DEVICE = 5
    STALE = 6
    UNAVAILABLE = 7

class StoreFault(enum.Enum):
    IN_USE = 0
    NOT_A_STORE = 1
    TOO_NEW = 2
    VAULT = 3
    WRONG_KEY = 4
    DISK_FULL = 5
    READ_ONLY = 6
    CORRUPT = 7
    SYSTEM = 8

class Subscription:
    def cancel(self) -> None: ...
    def is_ended(self) -> bool: ...

@dataclass(kw_only=True, match_args=False)
class SyncDebt:
    settled: bool
    documents: list[DocumentDebt]
    records: int
    held: list[ReasonCount]
    set_aside: list[SetAside]
    confirmed: bool

class TomboloError(Exception):
    reason: str
    @dataclass(eq=False, match_args=False)
    class Store(TomboloError):
        fault: StoreFault
        reason: str
    @dataclass(eq=False, match_args=False)
    class Misuse(TomboloError):
        fault: MisuseFault
        reason: str
    @dataclass(eq=False, match_args=False)
    class Document(TomboloError):
        fault: DocumentFault
        reason: str
    @dataclass(eq=False, match_args=False)
    class NotFound(TomboloError):
        what: Wanted
        reason: str
    @dataclass(eq=False, match_args=False)
    class Denied(TomboloError):
        by: Denial
        reason: str
    @dataclass(eq=False, match_args=False)
    class NotReady(TomboloError):
        missing: Missing
        reason: str
    @dataclass(eq=False, match_args=False)
    class Input(TomboloError):
        what: Typed
        reason: str
    @dataclass(eq=False, match_args=False)
    class StepUp(TomboloError):
        refusal: StepUpRefusal
        reason: str
    @dataclass(eq=False, match_args=False)
    class UnsentWork(TomboloError):
        changes: int
        entries: int
        records: int
        reason: str
    @dataclass(eq=False, match_args=False)
    class Deadline(TomboloError):
        reason: str
    @dataclass(eq=False, match_args=False)
    class Closed(TomboloError):
        reason: str
    @dataclass(eq=False, match_args=False)
    class Internal(TomboloError):
        reason: str

class Typed(enum.Enum):
    INVITE = 0
    ADDRESS = 1
    LINK = 2
    KIT = 3

class Unsent(enum.Enum):
    KEEP = 0
    DISCARD = 1

UserId = str

class Value:
    class NULL(Value): ...
    class BOOL(Value):
        def __init__(self, v0: bool, /) -> None: ...
        def __getitem__(self, index: int) -> bool: ...
    class I64(Value):
        def __init__(self, v0: int, /) -> None: ...
        def __getitem__(self, index: int) -> int: ...
    class F64(Value):
        def __init__(self, v0: float, /) -> None: ...
        def __getitem__(self, index: int) -> float: ...
    class STRING(Value):
        def __init__(self, v0: str, /) -> None: ...
        def __getitem__(self, index: int) -> str: ...
    class BYTES(Value):
        def __init__(self, v0: bytes, /) -> None: ...
        def __getitem__(self, index: int) -> bytes: ...
    class TIMESTAMP(Value):
        def __init__(self, v0: int, /) -> None: ...
        def __getitem__(self, index: int) -> int: ...
    class COUNTER(Value):
        def __init__(self, v0: int, /) -> None: ...
        def __getitem__(self, index: int) -> int: ...
    class TEXT(Value):
        def __init__(self, v0: str, /) -> None: ...
        def __getitem__(self, index: int) -> str: ...
    class MAP(Value):
        def __init__(self, v0: dict[str, Value], /) -> None: ...
        def __getitem__(self, index: int) -> dict[str, Value]: ...
    class LIST(Value):
        def __init__(self, v0: list[Value], /) -> None: ...
        def __getitem__(self, index: int) -> list[Value]: ...

class VaultError(Exception):
    @dataclass(eq=False, match_args=False)
    class Refused(VaultError):
        code: int
    class Occupied(VaultError): ...

class Wanted(enum.Enum):
    WORKSPACE = 0
    DOCUMENT = 1
    DEVICE = 2

class Workspace:
    async def act(self, act: MembershipAct) -> ActOutcome: ...
    async def admit(self, entries: list[EntryHash]) -> None: ...
    async def audit(self) -> list[AuditLine]: ...
    async def create_document(self, crdt: Crdt) -> Document: ...
    async def documents(self) -> list[DocumentSummary]: ...
    async def exclude(self, entries: list[EntryHash]) -> None: ...
    def id(self) -> WorkspaceId: ...
    async def invite(self, role: Role, expires_in: datetime.timedelta | None, uses: int | None) -> str: ...
    async def invites(self) -> list[OpenInvite]: ...
    async def leave(self) -> ActOutcome: ...
    async def members(self) -> list[Member]: ...
    async def name(self) -> str | None: ...
    async def open_with_kit(self, kit: RecoveryKit) -> None: ...
    async def policy(self) -> Policy: ...
    async def ready(self, cancellation: Cancellation | None = ...) -> None: ...
    async def relay_evidence(self) -> list[RelayEvidence]: ...
    async def remove_member(self, user: UserId) -> ActOutcome: ...
    async def revoke_invite(self, invite: RecordId) -> ActOutcome: ...
    async def set_organisation_recovery(self, recovery: OrganisationRecovery | None) -> ActOutcome: ...
    async def set_policy(self, terms: PolicyTerms) -> ActOutcome: ...
    async def set_role(self, user: UserId, role: Role, expires_ms: int | None) -> ActOutcome: ...
    async def settled(self, cancellation: Cancellation | None = ...) -> None: ...
    async def state(self) -> WorkspaceState: ...
    async def step_up(self, address: str, method: StepUpMethod) -> StepUp: ...
    async def sync_all(self) -> None: ...
    async def sync_debt(self) -> SyncDebt: ...
    async def sync_only(self, documents: list[DocumentId]) -> None: ...
    async def synced_only(self) -> list[DocumentId] | None: ...
    async def transfer_ownership(self, to: UserId) -> ActOutcome: ...

WorkspaceId = str

class WorkspaceState:
    class JOINING(WorkspaceState): ...
    class MEMBER(WorkspaceState): ...
    class RETURNING(WorkspaceState): ...
    class REFUSED(WorkspaceState):
        def __init__(self, v0: JoinRefusal, /) -> None: ...
        def __getitem__(self, index: int) -> JoinRefusal: ...

@dataclass(kw_only=True, match_args=False)
class WorkspaceSummary:
    id: WorkspaceId
    name: str | None
    role: Role | None
    state: WorkspaceState

def describe_debt(reason: DebtReason) -> str: ...
def describe_set_aside(reason: SetAsideReason) -> str: ...
def live_object_count() -> int: ...
def set_log_sink(level: LogLevel, sink: LogSink | None) -> None: ...
