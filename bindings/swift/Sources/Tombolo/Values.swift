import Foundation
@_exported import TomboloFFI

// Values of a document as Swift has them: literals, and types that are Codable.

extension Value: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .i64(value) }
    public init(floatLiteral value: Double) { self = .f64(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: Value...) { self = .list(elements) }
    public init(dictionaryLiteral elements: (String, Value)...) {
        self = .map(Dictionary(elements, uniquingKeysWith: { _, last in last }))
    }
}

extension Value {
    /// The value under a key of a map; nothing in anything else.
    public subscript(key: String) -> Value? {
        if case .map(let entries) = self { return entries[key] }
        return nil
    }

    /// The element of a list; nothing beyond its end, and in anything else.
    public subscript(index: Int) -> Value? {
        if case .list(let values) = self, values.indices.contains(index) { return values[index] }
        return nil
    }

    /// A string that is replaced as a whole, or one that is edited character by character.
    public var string: String? {
        switch self {
        case .string(let string), .text(let string): string
        default: nil
        }
    }

    /// A whole number, or what a counter stands at.
    public var integer: Int64? {
        switch self {
        case .i64(let number), .counter(let number): number
        default: nil
        }
    }

    /// The moment, of a timestamp.
    public var date: Date? {
        if case .timestamp(let milliseconds) = self { return Date(timeIntervalSince1970: Double(milliseconds) / 1000) }
        return nil
    }

    /// A timestamp, in whole milliseconds.
    public init(_ date: Date) {
        self = .timestamp(Int64((date.timeIntervalSince1970 * 1000).rounded()))
    }
}

/// One step of a path: `document.read("tasks", 0, "what")`.
extension PathStep: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    public init(stringLiteral key: String) { self = .key(key: key) }
    public init(integerLiteral index: UInt64) { self = .index(index: index) }
}
