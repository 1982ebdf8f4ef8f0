import Foundation

/// A relay as a process of its own; killed as a power cut would, and started again at its address.
public final class Relay: @unchecked Sendable {
    public private(set) var address = "ws://127.0.0.1:0"
    private let folder: URL
    private var process = Process()

    public init(folder: URL) throws {
        self.folder = folder
        try start()
    }

    public func start() throws {
        guard let program = ProcessInfo.processInfo.environment["TOMBOLO_RELAY"] else {
            throw Failure("name a relay in TOMBOLO_RELAY: cargo build -p tombolo-relay")
        }
        process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        let listen = address.dropFirst("ws://".count)
        process.arguments = ["serve", "--listen", String(listen), "--admin-listen", "127.0.0.1:0"]
        process.arguments! += ["--log-level", "error", "--data", folder.path]
        let said = Pipe()
        (process.standardOutput, process.standardError) = (said, FileHandle.nullDevice)
        try process.run()
        var text = ""
        while !text.contains("\n") || !text.contains("listening on ") {
            let more = said.fileHandleForReading.availableData
            guard !more.isEmpty else { throw Failure("the relay did not say where it listens: \(text)") }
            text += String(decoding: more, as: UTF8.self)
        }
        let line = text.split(separator: "\n").first { $0.hasPrefix("listening on ") }
        address = String(line!.dropFirst("listening on ".count))
    }

    public func kill() {
        signal(process.processIdentifier)
        process.waitUntilExit()
    }
}

/// Ends a process as a power cut would.
public func signal(_ process: Int32) { kill(process, SIGKILL) }

/// Something is not as the scenarios say.
public struct Failure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
