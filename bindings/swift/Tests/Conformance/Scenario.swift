import Foundation
import Tombolo

/// One of the scenarios that all languages run.
public struct Scenario: Sendable {
    public let name: String
    public let steps: [[String]]

    /// Reads all of a file; one for each CRDT where it says so.
    public static func read(_ file: URL) throws -> [Scenario] {
        var blocks: [(head: [String], steps: [[String]])] = []
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
            let words = words(String(line))
            if words.first == "scenario" {
                blocks.append((Array(words.dropFirst()), []))
            } else if !words.isEmpty {
                blocks[blocks.count - 1].steps.append(words)
            }
        }
        return blocks.flatMap { head, steps in
            guard head.contains("each-crdt") else { return [Scenario(name: head[0], steps: steps)] }
            return ["automerge", "yrs"].map { crdt in
                Scenario(name: "\(head[0]) \(crdt)", steps: steps.map { $0.map { $0 == "CRDT" ? crdt : $0 } })
            }
        }
    }

    public static func words(_ line: String) -> [String] {
        let word = #/"(?:\\.|[^"\\])*"|(?:[^\s"]|"(?:\\.|[^"\\])*")+/#
        return line.matches(of: word).map { String($0.output) }
    }
}

/// What a word of JSON says.
func plain(_ word: String) throws -> Value { try JSONDecoder().decode(Json.self, from: Data(word.utf8)).value }

private struct Json: Decodable {
    let value: Value

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            value = .null
        } else if let bool = try? container.decode(Bool.self) {
            value = .bool(bool)
        } else if let number = try? container.decode(Int64.self) {
            value = .i64(number)
        } else if let number = try? container.decode(Double.self) {
            value = .f64(number)
        } else if let string = try? container.decode(String.self) {
            value = .string(string)
        } else if let list = try? container.decode([Json].self) {
            value = .list(list.map(\.value))
        } else {
            value = .map(try container.decode([String: Json].self).mapValues(\.value))
        }
    }
}

/// Texts, counters and moments as the strings and numbers that the scenarios have for them.
func bare(_ value: Value?) -> Value {
    switch value {
    case nil: .null
    case .text(let string): .string(string)
    case .counter(let number), .timestamp(let number): .i64(number)
    case .map(let entries): .map(entries.mapValues(bare))
    case .list(let values): .list(values.map(bare))
    case .some(let value): value
    }
}
