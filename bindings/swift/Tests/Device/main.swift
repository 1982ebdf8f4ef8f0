import Conformance
import Foundation
import Tombolo

// One device of a test in which several languages take part: steps come in, one a line, and what was named goes out.
//
// `learn KIND NAME VALUE` in either direction; after each other line, `done`, or `failed` and why. With `write` and
// a store, it writes until it is killed, and says what was acknowledged. With `time`, names and counts it times calls.

@Sendable func say(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
}

func write(into path: String) async throws {
    let replica = try await Replica.open(at: URL(fileURLWithPath: path))
    let document = try await replica.createWorkspace(name: "things").createDocument(crdt: .yrs)
    say("document \(document.id())")
    for start in stride(from: 0, to: Int.max - 4, by: 4) {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in start..<start + 4 {
                group.addTask {
                    try await document.edit { $0.put(String(number), .string(String(repeating: "x", count: 200))) }
                    say(String(number))
                }
            }
            try await group.waitForAll()
        }
    }
}

func play() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let stage = Stage(folder: folder) { kind, name, value in say("learn \(kind) \(name) \(value)") }
    while let line = readLine() {
        let words = Scenario.words(line)
        do {
            if words.first == "learn" {
                try await stage.learn(words[1], words[2], words[3])
                continue
            }
            try await within(patience) { try await stage.step(words) }
            say("done")
        } catch {
            say("failed: \(error)")
        }
    }
    try await stage.end()
}

let arguments = CommandLine.arguments.dropFirst()
if arguments.first == "write" {
    try await write(into: arguments.last!)
} else if arguments.first == "time" {
    try await report(Array(arguments.dropFirst()))
} else {
    try await play()
}
