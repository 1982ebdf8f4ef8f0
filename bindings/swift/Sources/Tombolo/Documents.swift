import TomboloFFI

extension Document {
    /// Edits the document: what the block does is one change, durable when this returns.
    ///
    /// If the block throws, nothing has changed.
    public func edit(_ block: (MapEdit) throws -> Void) async throws {
        let collected = Collected()
        try block(MapEdit(collected: collected, path: []))
        if !collected.edits.isEmpty { try await edit(edits: collected.edits) }
    }

    /// Reads what is at a path of keys and indexes; without one the whole document. `nil` if nothing is there.
    public func read(_ path: PathStep...) async throws -> Value? { try await read(path: path) }

    /// Reads what is at a path as a type that is `Decodable`; `nil` if nothing is there.
    public func read<T: Decodable>(_ path: PathStep..., as type: T.Type) async throws -> T? {
        try await read(path: path)?.decoded(as: type)
    }

    /// Reads with own changes that do not count any more, because the right to write was lost.
    public func readWithKept(_ path: PathStep...) async throws -> Value? { try await readWithKept(path: path) }

    /// Waits until what this device wrote has come this far, to a relay unless told. Ends when the task is cancelled.
    public func wait(for milestone: Milestone = .relayDurable) async throws {
        try await cancellable { try await waitFor(milestone: milestone, cancellation: $0) }
    }

    /// Watches the document: its present state first, then every change, until the replica is closed or nobody iterates.
    ///
    /// Who iterates too slowly misses changes, and is then given `.current` again.
    public func events() -> AsyncThrowingStream<DocumentEvent, any Error> {
        eventStream { queue in try await self.subscribe(listener: queue) }
    }
}

extension Patch {
    /// Where it changed: keys, and indexes in brackets, as in `tasks[0].what`.
    public var place: String {
        path.reduce(into: "") { place, step in
            switch step {
            case .key(let key): place += place.isEmpty ? key : ".\(key)"
            case .index(let index): place += "[\(index)]"
            }
        }
    }
}
