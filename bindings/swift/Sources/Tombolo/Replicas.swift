import Foundation
import TomboloFFI

extension Replica {
    /// Opens a store, or makes it. No network is needed; relays that were dialled before are dialled again.
    ///
    /// - Parameters:
    ///   - url: the store's file; a store is open in one process at a time.
    ///   - key: where its key is kept; by default in a file beside it that only its owner may read. `KeychainVault` on
    ///     Apple's platforms.
    ///   - durability: what a resolved edit survives; a power cut by default.
    ///   - memoryBytes: bounds the memory of open documents that nobody watches; 64 MiB by default.
    ///   - snapshotEntries: entries since a document's newest snapshot from which its busiest writer publishes it anew as
    ///     it is opened, while the others vouch for it; then a relay may delete what it stands for, if it is told to.
    ///     Never by default.
    ///   - compactAfter: how many seconds a published snapshot must have had the words of enough members before this device
    ///     gives up the entries that it stands for; the document stays as it is. Never by default.
    ///   - appType: marks the documents that this app creates.
    ///   - trustedRoots: certificate authorities (DER) to trust for relays, beside the web's.
    ///   - offline: dials no relay before `resume()` or `sync(within:)`.
    /// - Throws: `TomboloError.Store`, whose fault says what is in the way: another process, the disk, the key.
    public static func open(
        at url: URL,
        key: KeyPlace? = nil,
        durability: Durability? = nil,
        memoryBytes: UInt64? = nil,
        snapshotEntries: UInt64? = nil,
        compactAfter: TimeInterval? = nil,
        appType: String? = nil,
        trustedRoots: [Data] = [],
        offline: Bool = false
    ) async throws -> Replica {
        try await open(
            options: OpenOptions(
                path: url.path, key: key, durability: durability, memoryBytes: memoryBytes,
                snapshotEntries: snapshotEntries, compactAfter: compactAfter, appType: appType, trustedRoots: trustedRoots,
                offline: offline))
    }

    /// Brings a user back from a kit, into a new store; workspaces come as soon as a relay was dialled.
    ///
    /// - Throws: `TomboloError.Misuse` if there is a workspace at the URL, `Store`.
    public static func recover(
        kit: RecoveryKit, at url: URL, key: KeyPlace? = nil, trustedRoots: [Data] = []
    ) async throws -> Replica {
        try await recover(kit: kit, options: OpenOptions(path: url.path, key: key, trustedRoots: trustedRoots))
    }

    /// Ends all sessions and closes the store; closing it again does nothing. Handles answer `Closed` from then on.
    ///
    /// - Throws: `TomboloError.Store` if something could not be written back; nothing acknowledged is lost.
    public func close() async throws {
        do {
            try await shutdown()
        } catch TomboloError.Closed {
            // It is what was asked for.
        }
    }

    /// Reaches a relay, and keeps reaching it: the address is remembered by the store. Returns before it is reached.
    ///
    /// - Parameters:
    ///   - address: `wss://…`, or `ws://` on this machine.
    ///   - allowProxy: for a relay behind a proxy that ends TLS, which must be trusted.
    ///   - token: what a relay wants that admits by token.
    /// - Throws: `TomboloError.Input` for an address that can not be dialled safely.
    public func dial(_ address: String, allowProxy: Bool = false, token: String? = nil) async throws {
        try await dial(address: address, allowProxy: allowProxy, token: token)
    }

    /// Reaches the relays, and returns as soon as nothing is owed: what fits a background task.
    ///
    /// Throws `TomboloError.Deadline` if the time is over first; the work goes on while the replica is open. Ends when the task is cancelled, as it is when the system takes a background task's time away.
    public func sync(within seconds: TimeInterval) async throws {
        try await cancellable { try await syncOnce(deadline: seconds, cancellation: $0) }
    }

    /// Says that the network has changed: relays are dialled at once instead of after their wait.
    public func networkChanged() async throws { try await notifyNetwork(reachability: .reachable) }

    /// Hears of everything that happens: how things stand first.
    ///
    /// Who iterates too slowly misses events, and is then given `.current` again.
    public func events() -> AsyncThrowingStream<ReplicaEvent, any Error> {
        eventStream { queue in try await self.subscribe(listener: queue) }
    }
}

extension Workspace {
    /// Makes an invite: a text to show or send, which is a secret until it is used. Give it to `join(invite:)`.
    ///
    /// - Parameters:
    ///   - seconds: from now, by the relay's clock; without it the invite stays until it is used up or revoked.
    ///   - uses: how many may join by it; `nil` for any number.
    /// - Throws: `TomboloError.Denied` for a role that this user may not give, `NotReady` while no relay was ever reached,
    ///   which is to count the uses.
    public func invite(_ role: Role, expiresIn seconds: TimeInterval? = nil, uses: UInt32? = 1) async throws -> String {
        try await invite(role: role, expiresIn: seconds, uses: uses)
    }

    /// Waits until this device is a member. Ends when the task is cancelled.
    ///
    /// - Throws: `TomboloError.Input` if the invite was refused for good.
    public func waitUntilReady() async throws { try await cancellable { try await ready(cancellation: $0) } }

    /// Waits until nothing is owed. Ends when the task is cancelled.
    public func waitUntilSettled() async throws { try await cancellable { try await settled(cancellation: $0) } }
}

extension TomboloError {
    /// What is wrong, as a sentence for people, in English. The case says whose fault it is.
    public var reason: String {
        switch self {
        case .Store(_, let reason), .Misuse(_, let reason), .Document(_, let reason), .NotFound(_, let reason),
            .Denied(_, let reason), .NotReady(_, let reason), .Input(_, let reason), .StepUp(_, let reason),
            .UnsentWork(_, _, _, let reason), .Deadline(let reason), .Closed(let reason), .Internal(let reason):
            reason
        }
    }
}

/// Hands the library's log to a function from now on, up to a level; `nil` turns it off. It is called on one thread, and no
/// line names content.
///
/// - Throws: `TomboloError.Misuse` if the program around this library has taken the log for itself.
public func log(_ level: LogLevel = .info, to sink: (@Sendable (LogLine) -> Void)?) throws {
    try setLogSink(level: level, sink: sink.map(Sink.init))
}

private final class Sink: LogSink {
    private let take: @Sendable (LogLine) -> Void
    init(_ take: @escaping @Sendable (LogLine) -> Void) { self.take = take }
    func onLines(lines: [LogLine]) { lines.forEach(take) }
}
