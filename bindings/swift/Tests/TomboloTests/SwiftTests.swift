import Conformance
import Foundation
import Tombolo
import XCTest

/// What is Swift's own: values, Codable, listeners, streams, vaults, logs, and what a killed process leaves.
final class SwiftTests: XCTestCase {
    private func opened(_ crdt: Crdt = .yrs) async throws -> (Replica, Document, URL) {
        let store = try Places.folder().appendingPathComponent("notes.tombolo")
        let replica = try await Replica.open(at: store)
        return (replica, try await replica.createWorkspace(name: "things").createDocument(crdt: crdt), store)
    }

    private struct Task: Codable, Equatable {
        enum State: String, Codable { case open, done }
        var what: String
        var state: State
        var effort: Double?
        var due: Date?
        var tags: [String]
        var photo: Data
        var parts: [Task]
    }

    func testCodableTypesComeBackAsTheyWentIn() async throws {
        let due = Date(timeIntervalSince1970: 1_795_253_400.125)
        let part = Task(what: "boots 🌊", state: .done, effort: nil, due: due, tags: [], photo: Data([0, 255]), parts: [])
        let task = Task(what: "pack", state: .open, effort: 2, due: nil, tags: ["a", "b"], photo: Data(), parts: [part])
        for crdt in [Crdt.automerge, .yrs] {
            let (replica, document, _) = try await opened(crdt)
            try await document.edit { edit in
                try edit.put("task", encoding: task)
                try edit.list("tasks").append(encoding: part)
                edit.put("plain", ["a": [1, -2.5, nil, true, "x"]])
                edit.put("number", .i64(.min))
            }
            let read = try await document.read("task", as: Task.self)
            XCTAssertEqual(read, task)
            let listed = try await document.read("tasks", 0, as: Task.self)
            XCTAssertEqual(listed, part)
            let whole = try await document.read()
            XCTAssertEqual(whole?["plain"], ["a": [1, -2.5, nil, true, "x"]])
            XCTAssertEqual(whole?["number"]?.integer, .min)
            XCTAssertEqual(whole?["tasks"]?[0]?["due"]?.date, due)
            let missing = try await document.read("nothing", as: Task.self)
            XCTAssertNil(missing)
            do {
                _ = try await document.read("plain", as: Task.self)
                XCTFail("it is something else")
            } catch is DecodingError {}
            XCTAssertThrowsError(try Value(encoding: UInt64.max)) { XCTAssert($0 is EncodingError) }
            try await replica.close()
        }
    }

    func testABlockThatThrowsChangesNothing() async throws {
        let (replica, document, _) = try await opened()
        do {
            try await document.edit { edit in
                edit.put("title", "half")
                throw Failure("planted")
            }
            XCTFail("it threw")
        } catch is Failure {}
        let read = try await document.read()
        XCTAssertEqual(read, [:])
        try await replica.close()
    }

    func testAStreamBeginsWithThePresentStateAndHasEveryChangeInOrder() async throws {
        let (replica, document, _) = try await opened()
        try await document.edit { $0.put("n", -1) }
        let events = document.events()
        var heard: [Value?] = []
        var numbers = (0..<200).makeIterator()
        for try await event in events {
            switch event {
            case .current(let value): heard.append(value["n"])
            case .changed(let patches, _, let origin):
                XCTAssertEqual(origin, .local)
                if case .put(let value) = patches.last?.action { heard.append(value) }
            }
            guard let number = numbers.next() else { break }
            try await document.edit { $0.put("n", .i64(Int64(number))) }
        }
        XCTAssertEqual(heard, (-1..<200).map { .i64($0) })
        try await replica.close()
        do {
            for try await _ in document.events() {}
            XCTFail("the replica is closed")
        } catch TomboloError.Closed {}
    }

    func testWhoIteratesSlowlyIsShownTheWholeAgain() async throws {
        let (replica, document, _) = try await opened()
        let listener = document.events()
        var iterator = listener.makeAsyncIterator()
        _ = try await iterator.next()
        for start in stride(from: Int64(0), to: 12_000, by: 50) {
            try await document.edit { edit in for number in start..<start + 50 { edit.put("n", .i64(number)) } }
        }
        var last: Value?
        while last != .i64(11_999), let event = try await iterator.next() {
            switch event {
            case .current(let value): last = value["n"]
            case .changed(let patches, _, _): if case .put(let value) = patches.last?.action { last = value }
            }
        }
        XCTAssertEqual(last, .i64(11_999))
        try await replica.close()
        let after = try await iterator.next()
        XCTAssertNil(after)
    }

    func testACancelledTaskEndsItsStream() async throws {
        let (replica, document, _) = try await opened()
        let watching = _Concurrency.Task {
            var count = 0
            for try await _ in document.events() { count += 1 }
            return count
        }
        try await _Concurrency.Task.sleep(for: .milliseconds(200))
        let began = ContinuousClock.now
        watching.cancel()
        let count = try await watching.value
        XCTAssertEqual(count, 1)
        XCTAssertLessThan(ContinuousClock.now - began, .milliseconds(100))
        try await replica.close()
    }

    func testTheReplicasEventsBeginWithHowThingsStand() async throws {
        let (replica, _, _) = try await opened()
        stream: for try await event in replica.events() {
            switch event {
            case .current(let workspaces, let relays):
                XCTAssertEqual(workspaces.map(\.name), ["things"])
                XCTAssert(relays.isEmpty)
                try await replica.forgetWorkspace(id: workspaces[0].id, unsent: .discard)
            case .workspaceForgotten: break stream
            default: break
            }
        }
        try await replica.close()
    }

    private final class Vault: KeyVault, @unchecked Sendable {
        var key: Data?
        var fault: (any Error)?

        func load() throws -> Data? {
            if let fault { throw fault }
            return key
        }

        func save(key: Data) throws { self.key = key }
    }

    func testAVaultOfTheAppsKeepsTheKeyAndWhatItThrowsIsTold() async throws {
        let store = try Places.folder().appendingPathComponent("a.tombolo")
        let vault = Vault()
        let place = KeyPlace.vault(vault: vault)
        let replica = try await Replica.open(at: store, key: place)
        let identity = try await replica.identity()
        try await replica.close()
        XCTAssertEqual(vault.key?.count, 32)
        XCTAssertFalse(FileManager.default.fileExists(atPath: store.path + ".key"))
        for fault in [VaultError.Refused(code: -25308), Failure("a mistake of the app")] as [any Error] {
            vault.fault = fault
            await refused(store, place, .vault)
        }
        vault.fault = nil
        let kept = vault.key
        vault.key = Data(count: 32)
        await refused(store, place, .wrongKey)
        vault.key = kept
        let again = try await Replica.open(at: store, key: place)
        let same = try await again.identity()
        XCTAssertEqual(same, identity)
        try await again.close()
    }

    private func refused(_ store: URL, _ place: KeyPlace, _ fault: StoreFault) async {
        do {
            _ = try await Replica.open(at: store, key: place)
            XCTFail("it opened")
        } catch TomboloError.Store(let found, _) {
            XCTAssertEqual(found, fault)
        } catch {
            XCTFail("\(error)")
        }
    }

    func testTheLogGoesToAFunction() async throws {
        let lines = Lines()
        try log(.trace) { lines.add($0.text) }
        let (replica, document, _) = try await opened()
        do {
            try await document.edit { $0.text("body").splice(at: 9, inserting: "secret words") }
        } catch TomboloError.Misuse(.outOfRange, _) {}
        while !lines.all.contains("OutOfRange") { try await _Concurrency.Task.sleep(for: .milliseconds(10)) }
        try log(to: nil)
        try await replica.close()
        XCTAssertFalse(lines.all.contains("secret words"))
    }

    private final class Lines: @unchecked Sendable {
        private let lock = NSLock()
        private var text = ""
        var all: String { lock.withLock { text } }
        func add(_ line: String) { lock.withLock { text += line + "\n" } }
    }

    func testWhatWasAcknowledgedIsThereAfterTheProcessWasKilled() async throws {
        for after in [20, 60, 140] {
            let store = try Places.folder().appendingPathComponent("notes.tombolo")
            let writer = Process()
            (writer.executableURL, writer.arguments) = (Places.program("tombolo-device"), ["write", store.path])
            let said = Pipe()
            writer.standardOutput = said
            try writer.run()
            var text = ""
            while text.split(separator: "\n").count <= after {
                text += String(decoding: said.fileHandleForReading.availableData, as: UTF8.self)
            }
            signal(writer.processIdentifier)
            writer.waitUntilExit()
            text += String(decoding: said.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
            let replica = try await Replica.open(at: store)
            let document = try replica.document(id: String(lines[0].dropFirst("document ".count)))
            guard case .map(let kept) = try await document.read() else { return XCTFail("it is no map") }
            XCTAssertEqual(Set(lines.dropFirst()).subtracting(kept.keys), [], "acknowledged and lost")
            XCTAssertEqual(Set(kept.values), [.string(String(repeating: "x", count: 200))])
            try await replica.close()
        }
    }

    func testNoHandleIsLeftWhenTheAppLetsGo() async throws {
        let before = liveObjectCount()
        do {
            let (replica, document, _) = try await opened()
            for try await _ in document.events() { break }
            do {
                try await within(.milliseconds(100)) { try await document.wait() }
                XCTFail("no relay is there")
            } catch is Failure {}
            XCTAssertGreaterThan(liveObjectCount(), before)
            try await replica.close()
        }
        for _ in 0..<500 where liveObjectCount() != before { try await _Concurrency.Task.sleep(for: .milliseconds(10)) }
        XCTAssertEqual(liveObjectCount(), before)
    }
}
