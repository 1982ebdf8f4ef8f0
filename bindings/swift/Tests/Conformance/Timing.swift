import Foundation
import Tombolo

private let batches = 10
private let largeBytes = 1 << 20

/// Times what the words name, each with how often, as the other languages do; prints `time NAME NANOSECONDS` for each.
public func report(_ words: [String]) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tombolo-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func opened(_ name: String, _ durability: Durability) async throws -> (Replica, Document) {
        let replica = try await Replica.open(at: folder.appendingPathComponent(name), durability: durability)
        return (replica, try await replica.createWorkspace(name: "things").createDocument(crdt: .yrs))
    }
    let (quick, document) = try await opened("process", .process)
    let (slow, durable) = try await opened("power", .power)
    try await document.edit { edit in
        edit.put("title", "Reef survey")
        edit.put("large", .string(String(repeating: "x", count: largeBytes)))
    }
    for pair in stride(from: 0, to: words.count - 1, by: 2) {
        let took = try await one(words[pair], Int(words[pair + 1])!, document, durable)
        print("time \(words[pair]) \(took)")
    }
    try await slow.close()
    try await quick.close()
}

private func one(_ what: String, _ count: Int, _ document: Document, _ durable: Document) async throws -> Int64 {
    func put(_ turn: Int, into document: Document) async throws {
        try await document.edit { $0.put("n", .i64(Int64(turn))) }
    }
    switch what {
    case "call": return try await median(count) { _ in _ = document.id() }
    case "read": return try await median(count) { _ in _ = try await document.read("title") }
    case "read-large": return try await median(count) { _ in _ = try await document.read("large") }
    case "edit": return try await median(count) { try await put($0, into: document) }
    case "edit-durable": return try await median(count) { try await put($0, into: durable) }
    case "event":
        var events = document.events().makeAsyncIterator()
        _ = try await events.next()
        return try await median(count) {
            try await put($0, into: document)
            _ = try await events.next()
        }
    default: throw Failure("nobody knows how to time \(what)")
    }
}

/// Makes a call so often, and returns the nanoseconds of one in the batch in the middle.
private func median(_ count: Int, _ call: (Int) async throws -> Void) async throws -> Int64 {
    let size = count / batches
    var took: [Int64] = []
    for batch in 0..<batches {
        let began = ContinuousClock.now
        for turn in 0..<size { try await call(batch * size + turn) }
        let (seconds, attoseconds) = (ContinuousClock.now - began).components
        took.append((seconds * 1_000_000_000 + attoseconds / 1_000_000_000) / Int64(size))
    }
    return took.sorted()[batches / 2]
}
