import Foundation
import Tombolo
import XCTest

/// What takes minutes: memory after very many calls. Only with `TOMBOLO_SLOW` set.
final class SlowTests: XCTestCase {
    override func setUpWithError() throws {
        try XCTSkipIf(ProcessInfo.processInfo.environment["TOMBOLO_SLOW"] == nil, "only with TOMBOLO_SLOW")
    }

    private func opened() async throws -> (Replica, Document) {
        let replica = try await Replica.open(at: try Places.folder().appendingPathComponent("notes.tombolo"))
        return (replica, try await replica.createWorkspace(name: "things").createDocument(crdt: .yrs))
    }

    private func residentMib() throws -> Int {
        let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")[1]
        return (Int(pages)! * 4096) >> 20
    }

    private func calls(_ replica: Replica, _ document: Document, _ count: Int) async throws {
        for _ in 0..<count / 10 {
            let handle = try replica.document(id: document.id())
            for _ in 0..<8 { _ = handle.id() }
            _ = try await handle.read("title")
        }
    }

    private func listeners(_ document: Document, _ count: Int) async throws {
        for _ in 0..<count { for try await _ in document.events() { break } }
    }

    func testAMillionCallsAndAHundredThousandListenersLeakNothing() async throws {
        let (replica, document) = try await opened()
        try await document.edit { $0.put("title", "Reef survey") }
        let before = liveObjectCount()
        try await calls(replica, document, 50_000)
        try await listeners(document, 2_000)
        let resident = try residentMib()
        try await calls(replica, document, 1_000_000)
        let afterCalls = try residentMib()
        try await listeners(document, 100_000)
        try await Task.sleep(for: .seconds(1))
        let afterListeners = try residentMib()
        print("swift, resident MiB: \(resident) -> \(afterCalls) -> \(afterListeners)")
        XCTAssertEqual(liveObjectCount(), before)
        XCTAssertLessThan(afterCalls - resident, 16)
        XCTAssertLessThan(afterListeners - afterCalls, 32)
        try await replica.close()
    }
}
