import Conformance
import Foundation
import XCTest

/// The scenarios that all languages run alike.
final class ConformanceTests: XCTestCase {
    func testScenarios() async throws {
        for scenario in try Scenario.read(Places.scenarios) {
            let began = ContinuousClock.now
            do {
                try await Stage(folder: try Places.folder()).play(scenario)
                print("scenario \(scenario.name): \(ContinuousClock.now - began)")
            } catch {
                XCTFail("\(error)")
            }
        }
    }
}

/// Where things are for the suite.
enum Places {
    /// `TOMBOLO_SCENARIOS`, or where the repository has them.
    static var scenarios: URL {
        if let named = ProcessInfo.processInfo.environment["TOMBOLO_SCENARIOS"] { return URL(fileURLWithPath: named) }
        return URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../conformance/scenarios.txt").standardized
    }

    /// A program of this package, beside the one that runs the tests.
    static func program(_ name: String) -> URL {
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(name)
    }

    /// A fresh folder.
    static func folder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tombolo-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }
}
