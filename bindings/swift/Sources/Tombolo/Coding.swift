import Foundation
import TomboloFFI

// A document's values to and from types that are Codable, by way of a tree of values. Dates are timestamps and `Data` is
// bytes; a whole number is read into any integer that holds it, and into a floating-point number.

extension Value {
    /// Takes anything that is `Encodable`; throws `EncodingError` for what no document can hold.
    public init(encoding value: some Encodable) throws {
        self = try Value.encode(value, at: [])
    }

    /// Reads it as a type; throws `DecodingError` if it is something else.
    public func decoded<T: Decodable>(as type: T.Type = T.self) throws -> T {
        try ValueDecoder(value: self, codingPath: []).unwrap(type)
    }

    fileprivate static func encode(_ value: some Encodable, at path: [any CodingKey]) throws -> Value {
        switch value {
        case let value as Value: return value
        case let date as Date: return Value(date)
        case let data as Data: return .bytes(data)
        default:
            let slot = Slot()
            try value.encode(to: ValueEncoder(slot: slot, codingPath: path))
            return slot.value
        }
    }
}

extension Value: Codable {
    public init(from decoder: any Decoder) throws {
        guard let decoder = decoder as? ValueDecoder else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "a Value is read from a document alone"))
        }
        self = decoder.value
    }

    public func encode(to encoder: any Encoder) throws {
        guard let encoder = encoder as? ValueEncoder else {
            throw EncodingError.invalidValue(
                self, .init(codingPath: encoder.codingPath, debugDescription: "a Value is written into a document alone"))
        }
        encoder.slot.value = self
    }
}

/// Where what is being encoded goes.
private final class Slot {
    var value: Value {
        get {
            if let entries { return .map(entries.mapValues(\.value)) }
            if let elements { return .list(elements.map(\.value)) }
            return plain
        }
        set { plain = newValue }
    }
    private var plain = Value.null
    private var entries: [String: Slot]?
    private var elements: [Slot]?

    func map() { entries = entries ?? [:] }
    func list() { elements = elements ?? [] }
    var count: Int { elements?.count ?? 0 }

    func under(_ key: String) -> Slot {
        let slot = Slot()
        entries?[key] = slot
        return slot
    }

    func appended() -> Slot {
        let slot = Slot()
        elements?.append(slot)
        return slot
    }
}

private struct Position: CodingKey {
    var stringValue: String { intValue.map(String.init) ?? name }
    let intValue: Int?
    private let name: String
    init(_ index: Int) { (intValue, name) = (index, "") }
    init(intValue: Int) { self.init(intValue) }
    init(stringValue: String) { (intValue, name) = (nil, stringValue) }
}

private struct ValueEncoder: Encoder {
    let slot: Slot
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        slot.map()
        return KeyedEncodingContainer(MapEncoder(slot: slot, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        slot.list()
        return ListEncoder(slot: slot, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { PlainEncoder(slot: slot, codingPath: codingPath) }
}

private struct MapEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let slot: Slot
    let codingPath: [any CodingKey]

    mutating func encodeNil(forKey key: Key) { slot.under(key.stringValue).value = .null }

    mutating func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
        slot.under(key.stringValue).value = try Value.encode(value, at: codingPath + [key])
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        nested(key).container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { nested(key).unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { nested(Position(stringValue: "super")) }
    mutating func superEncoder(forKey key: Key) -> any Encoder { nested(key) }

    private func nested(_ key: any CodingKey) -> ValueEncoder {
        ValueEncoder(slot: slot.under(key.stringValue), codingPath: codingPath + [key])
    }
}

private struct ListEncoder: UnkeyedEncodingContainer {
    let slot: Slot
    let codingPath: [any CodingKey]
    var count: Int { slot.count }

    mutating func encodeNil() { slot.appended().value = .null }

    mutating func encode<T: Encodable>(_ value: T) throws {
        let encoded = try Value.encode(value, at: codingPath + [Position(count)])
        slot.appended().value = encoded
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        nested().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { nested().unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { nested() }

    private func nested() -> ValueEncoder {
        ValueEncoder(slot: slot.appended(), codingPath: codingPath + [Position(count)])
    }
}

private struct PlainEncoder: SingleValueEncodingContainer {
    let slot: Slot
    let codingPath: [any CodingKey]

    mutating func encodeNil() { slot.value = .null }
    mutating func encode(_ value: Bool) { slot.value = .bool(value) }
    mutating func encode(_ value: String) { slot.value = .string(value) }
    mutating func encode(_ value: Double) { slot.value = .f64(value) }
    mutating func encode(_ value: Float) { slot.value = .f64(Double(value)) }
    mutating func encode(_ value: Int) throws { try whole(value) }
    mutating func encode(_ value: Int8) throws { try whole(value) }
    mutating func encode(_ value: Int16) throws { try whole(value) }
    mutating func encode(_ value: Int32) throws { try whole(value) }
    mutating func encode(_ value: Int64) throws { try whole(value) }
    mutating func encode(_ value: UInt) throws { try whole(value) }
    mutating func encode(_ value: UInt8) throws { try whole(value) }
    mutating func encode(_ value: UInt16) throws { try whole(value) }
    mutating func encode(_ value: UInt32) throws { try whole(value) }
    mutating func encode(_ value: UInt64) throws { try whole(value) }
    mutating func encode<T: Encodable>(_ value: T) throws { slot.value = try Value.encode(value, at: codingPath) }

    private func whole(_ value: some FixedWidthInteger) throws {
        guard let number = Int64(exactly: value) else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: codingPath, debugDescription: "a document's numbers have 64 bits and a sign"))
        }
        slot.value = .i64(number)
    }
}

private struct ValueDecoder: Decoder {
    let value: Value
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .map(let entries) = value else { throw mismatch([String: Value].self) }
        return KeyedDecodingContainer(MapDecoder(entries: entries, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .list(let values) = value else { throw mismatch([Value].self) }
        return ListDecoder(values: values, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { PlainDecoder(decoder: self) }

    func unwrap<T: Decodable>(_ type: T.Type) throws -> T {
        let found: Any?
        switch type {
        case is Value.Type: found = value
        case is Date.Type: found = value.date
        case is Data.Type: if case .bytes(let data) = value { found = data } else { found = nil }
        default: return try T(from: self)
        }
        guard let found = found as? T else { throw mismatch(type) }
        return found
    }

    func mismatch(_ type: Any.Type) -> DecodingError {
        .typeMismatch(type, .init(codingPath: codingPath, debugDescription: "the document has something else here"))
    }
}

private struct MapDecoder<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let entries: [String: Value]
    let codingPath: [any CodingKey]
    var allKeys: [Key] { entries.keys.compactMap(Key.init(stringValue:)) }

    func contains(_ key: Key) -> Bool { entries[key.stringValue] != nil }
    func decodeNil(forKey key: Key) throws -> Bool { try nested(key).value == .null }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try nested(key).unwrap(type) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try nested(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try nested(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { try nested(Position(stringValue: "super")) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try nested(key) }

    private func nested(_ key: any CodingKey) throws -> ValueDecoder {
        guard let value = entries[key.stringValue] else {
            throw DecodingError.keyNotFound(
                key, .init(codingPath: codingPath, debugDescription: "the document has nothing here"))
        }
        return ValueDecoder(value: value, codingPath: codingPath + [key])
    }
}

private struct ListDecoder: UnkeyedDecodingContainer {
    let values: [Value]
    let codingPath: [any CodingKey]
    var currentIndex = 0
    var count: Int? { values.count }
    var isAtEnd: Bool { currentIndex >= values.count }

    mutating func decodeNil() throws -> Bool {
        guard try peek().value == .null else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try next().unwrap(type) }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
        try next().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next().unkeyedContainer() }
    mutating func superDecoder() throws -> any Decoder { try next() }

    private func peek() throws -> ValueDecoder {
        let path = codingPath + [Position(currentIndex)]
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                Value.self, .init(codingPath: path, debugDescription: "the document's list ends here"))
        }
        return ValueDecoder(value: values[currentIndex], codingPath: path)
    }

    private mutating func next() throws -> ValueDecoder {
        let decoder = try peek()
        currentIndex += 1
        return decoder
    }
}

private struct PlainDecoder: SingleValueDecodingContainer {
    let decoder: ValueDecoder
    var codingPath: [any CodingKey] { decoder.codingPath }

    func decodeNil() -> Bool { decoder.value == .null }

    func decode(_ type: Bool.Type) throws -> Bool {
        guard case .bool(let value) = decoder.value else { throw decoder.mismatch(type) }
        return value
    }

    func decode(_ type: String.Type) throws -> String {
        guard let value = decoder.value.string else { throw decoder.mismatch(type) }
        return value
    }

    func decode(_ type: Double.Type) throws -> Double {
        if case .f64(let value) = decoder.value { return value }
        guard let value = decoder.value.integer else { throw decoder.mismatch(type) }
        return Double(value)
    }

    func decode(_ type: Float.Type) throws -> Float { Float(try decode(Double.self)) }
    func decode(_ type: Int.Type) throws -> Int { try whole(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try whole(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try whole(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try whole(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try whole(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try whole(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try whole(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try whole(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try whole(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try whole(type) }
    func decode<T: Decodable>(_ type: T.Type) throws -> T { try decoder.unwrap(type) }

    private func whole<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        guard let number = decoder.value.integer, let value = T(exactly: number) else { throw decoder.mismatch(type) }
        return value
    }
}
