import TomboloFFI

extension Document {
    /// Edits the document: what the block does is one change, durable when this returns.
    ///
    /// ```swift
    /// try await document.edit { edit in
    ///     edit.put("title", "Reef survey")
    ///     edit.text("body").append("Low tide at six.")
    /// }
    /// ```
    ///
    /// - Throws: what the block throws, and nothing has changed; `TomboloError.Misuse` for what can not be done (a position
    ///   beyond the end, a list where a map is), `Denied` below writer, `Store` if the disk does not take it.
    public func edit(_ block: (MapEdit) throws -> Void) async throws {
        let collected = Collected()
        try block(MapEdit(collected: collected, path: []))
        if !collected.edits.isEmpty { try await edit(edits: collected.edits) }
    }

    /// Reads what is at a path of keys and indexes, as in `document.read("tasks", 0, "what")`; without one the whole
    /// document. `nil` if nothing is there.
    ///
    /// - Throws: `TomboloError.NotFound` for a document that is not here, `Document` for one that can not be shown.
    public func read(_ path: PathStep...) async throws -> Value? { try await read(path: path) }

    /// Reads what is at a path as a type that is `Decodable`; `nil` if nothing is there.
    ///
    /// - Throws: `DecodingError` if something else is there, and as `read`.
    public func read<T: Decodable>(_ path: PathStep..., as type: T.Type) async throws -> T? {
        try await read(path: path)?.decoded(as: type)
    }

    /// Reads with own changes that do not count any more, because the right to write was lost.
    public func readWithKept(_ path: PathStep...) async throws -> Value? { try await readWithKept(path: path) }

    /// Waits until what this device wrote so far has come this far, to a relay's disk unless told.
    ///
    /// Without a relay it waits without an end: cancel the task, and it throws `CancellationError` at once.
    public func wait(for milestone: Milestone = .relayDurable) async throws {
        try await cancellable { try await waitFor(milestone: milestone, cancellation: $0) }
    }

    /// Watches the document: its present state first, then every change, until the replica is closed or nobody iterates.
    ///
    /// Who iterates too slowly misses changes, and is then given `.current` again. A document that is not here ends the
    /// stream with `TomboloError.NotFound`.
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
