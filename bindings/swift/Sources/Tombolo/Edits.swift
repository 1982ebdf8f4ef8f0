import TomboloFFI

// What is done to a document in one change: collected here, made at once. Nothing is read while edits are collected, so an
// editor says what to do and never what was there.

/// What was said in one block, in order.
final class Collected {
    var edits: [Edit] = []
}

/// Edits a map. A container that is missing under a key is made.
public struct MapEdit {
    let collected: Collected
    let path: [PathStep]

    /// Puts a value under a key, in place of what is there.
    public func put(_ key: String, _ value: Value) { collected.edits.append(.put(path: at(key), value: value)) }

    /// Puts a value under a key, of any type that is `Encodable`; throws `EncodingError` for what no document can hold.
    public func put(_ key: String, encoding value: some Encodable) throws { put(key, try Value(encoding: value)) }

    /// Deletes what is under a key, if anything is.
    public func delete(_ key: String) { collected.edits.append(.delete(path: at(key))) }

    /// The map under a key.
    public func map(_ key: String) -> MapEdit { MapEdit(collected: collected, path: at(key)) }

    /// The list under a key.
    public func list(_ key: String) -> ListEdit { ListEdit(collected: collected, path: at(key)) }

    /// The text under a key.
    public func text(_ key: String) -> TextEdit { TextEdit(collected: collected, path: at(key)) }

    /// The counter under a key.
    public func counter(_ key: String) -> CounterEdit { CounterEdit(collected: collected, path: at(key)) }

    private func at(_ key: String) -> [PathStep] { path + [.key(key: key)] }
}

/// Edits a list. Indexes count from 0, as the list stands at that point of the block, and are never negative.
public struct ListEdit {
    let collected: Collected
    let path: [PathStep]

    /// Inserts elements before an index, which is at most the length; beyond it the edit throws `Misuse`.
    public func insert(_ values: Value..., at index: Int) {
        collected.edits.append(.insert(path: path, index: UInt64(index), values: values))
    }

    /// Appends elements, wherever the list ends by then.
    public func append(_ values: Value...) { collected.edits.append(.append(path: path, values: values)) }

    /// Appends an element, of any type that is `Encodable`.
    public func append(encoding value: some Encodable) throws { append(try Value(encoding: value)) }

    /// Removes elements from an index on; all of them must be there.
    public func remove(at index: Int, count: Int = 1) {
        collected.edits.append(.remove(path: path, index: UInt64(index), count: UInt64(count)))
    }

    /// Replaces an element; lists of yrs can not: remove and insert.
    public func put(_ value: Value, at index: Int) { collected.edits.append(.put(path: at(index), value: value)) }

    /// The map at an index.
    public func map(_ index: Int) -> MapEdit { MapEdit(collected: collected, path: at(index)) }

    /// The list at an index.
    public func list(_ index: Int) -> ListEdit { ListEdit(collected: collected, path: at(index)) }

    /// The text at an index.
    public func text(_ index: Int) -> TextEdit { TextEdit(collected: collected, path: at(index)) }

    /// The counter at an index.
    public func counter(_ index: Int) -> CounterEdit { CounterEdit(collected: collected, path: at(index)) }

    private func at(_ index: Int) -> [PathStep] { path + [.index(index: UInt64(index))] }
}

/// Edits a text. Positions are UTF-16 code units: `String.utf16` and `String.Index.utf16Offset(in:)` know them.
public struct TextEdit {
    let collected: Collected
    let path: [PathStep]

    /// Removes code units at a position, and inserts a string there. Beyond the text's end, and within a surrogate pair,
    /// the edit throws `TomboloError.Misuse`.
    public func splice(at index: Int, removing removed: Int = 0, inserting inserted: String = "") {
        let (index, removed) = (UInt64(index), UInt64(removed))
        collected.edits.append(.spliceText(path: path, index: index, removed: removed, inserted: inserted))
    }

    /// Appends a string, wherever the text ends by then.
    public func append(_ inserted: String) { collected.edits.append(.appendText(path: path, inserted: inserted)) }
}

/// Edits a counter.
public struct CounterEdit {
    let collected: Collected
    let path: [PathStep]

    /// Adds to it; concurrent increments add up. A negative number takes away.
    public func increment(by number: Int64 = 1) { collected.edits.append(.increment(path: path, by: number)) }
}
