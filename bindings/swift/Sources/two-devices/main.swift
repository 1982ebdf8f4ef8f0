import Foundation
import Tombolo

// Two devices share notes through a relay: `swift run two-devices ws://127.0.0.1:8080`.

guard CommandLine.arguments.count == 2 else {
    print("Name a relay: two-devices ws://127.0.0.1:8080")
    exit(2)
}
let relay = CommandLine.arguments[1]

let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
let ann = try await Replica.open(at: folder.appendingPathComponent("ann.tombolo"))
let ben = try await Replica.open(at: folder.appendingPathComponent("ben.tombolo"))

let workspace = try await ann.createWorkspace(name: "Field notes")
let document = try await workspace.createDocument(crdt: .yrs)
try await document.edit { $0.text("body").append("Low tide at six.") }  // no network yet

try await ann.dial(relay)
try await document.wait()  // a relay has it
let invite = try await workspace.invite(.writer)

try await ben.dial(relay)
let shared = try await ben.join(invite: invite)
try await shared.waitUntilReady()
for try await _ in ben.events() where try await !shared.documents().isEmpty { break }  // first how things stand
let theirs = try ben.document(id: try await shared.documents()[0].id)
for try await _ in theirs.events() where try await theirs.read("body") != nil { break }
try await theirs.edit { $0.text("body").append(" Bring boots.") }
try await theirs.wait(for: .seenBy(try await ann.identity().device))
print(try await document.read("body")?.string ?? "")

try await ann.close()
try await ben.close()
try FileManager.default.removeItem(at: folder)
