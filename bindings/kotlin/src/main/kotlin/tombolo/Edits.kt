package tombolo

/**
 * What is done to a document in one change: collected here, made at once.
 *
 * Nothing is read while edits are collected, so an editor says what to do and never what was there.
 */
@DslMarker
public annotation class EditDsl

/** Edits a map. A container that is missing under a key is made. */
@EditDsl
public class MapEdit internal constructor(private val edits: MutableList<Edit>, private val path: List<PathStep>) {
    /** Puts a value under a key: `put("title", "Reef survey")`, or `this["title"] = "Reef survey"`. */
    public fun put(key: String, value: Any?) {
        edits += Edit.Put(at(key), Value.of(value))
    }

    /** The same as [put]. */
    public operator fun set(key: String, value: Any?): Unit = put(key, value)

    /** Deletes what is under a key, if anything is. */
    public fun delete(key: String) {
        edits += Edit.Delete(at(key))
    }

    /** The map under a key. */
    public fun map(key: String): MapEdit = MapEdit(edits, at(key))

    /** The list under a key. */
    public fun list(key: String): ListEdit = ListEdit(edits, at(key))

    /** The text under a key. */
    public fun text(key: String): TextEdit = TextEdit(edits, at(key))

    /** The counter under a key. */
    public fun counter(key: String): CounterEdit = CounterEdit(edits, at(key))

    private fun at(key: String): List<PathStep> = path + PathStep.Key(key)
}

/** Edits a list. Indexes count from 0, as the list stands at that point of the block; a negative one throws [IllegalArgumentException]. */
@EditDsl
public class ListEdit internal constructor(private val edits: MutableList<Edit>, private val path: List<PathStep>) {
    /** Inserts elements before an index, which is at most the length; beyond it the edit throws `Misuse`. */
    public fun insert(index: Int, vararg values: Any?) {
        edits += Edit.Insert(path, index(index.toLong()), values.map { Value.of(it) })
    }

    /** Appends elements, wherever the list ends by then. */
    public fun append(vararg values: Any?) {
        edits += Edit.Append(path, values.map { Value.of(it) })
    }

    /** Removes elements from an index on; all of them must be there. */
    public fun remove(index: Int, count: Int = 1) {
        edits += Edit.Remove(path, index(index.toLong()), index(count.toLong()))
    }

    /** Replaces an element; lists of yrs can not: remove and insert. */
    public fun put(index: Int, value: Any?) {
        edits += Edit.Put(at(index), Value.of(value))
    }

    /** The map at an index. */
    public fun map(index: Int): MapEdit = MapEdit(edits, at(index))

    /** The list at an index. */
    public fun list(index: Int): ListEdit = ListEdit(edits, at(index))

    /** The text at an index. */
    public fun text(index: Int): TextEdit = TextEdit(edits, at(index))

    /** The counter at an index. */
    public fun counter(index: Int): CounterEdit = CounterEdit(edits, at(index))

    private fun at(index: Int): List<PathStep> = path + step(index)
}

/** Edits a text. Positions are those of a Kotlin string: UTF-16 code units. */
@EditDsl
public class TextEdit internal constructor(private val edits: MutableList<Edit>, private val path: List<PathStep>) {
    /**
     * Removes code units at a position, and inserts a string there. Beyond the text's end, and within a surrogate pair, the
     * edit throws [TomboloException.Misuse].
     */
    public fun splice(index: Int, removed: Int, inserted: String = "") {
        edits += Edit.SpliceText(path, index(index.toLong()), index(removed.toLong()), inserted)
    }

    /** Appends a string, wherever the text ends by then. */
    public fun append(inserted: String) {
        edits += Edit.AppendText(path, inserted)
    }
}

/** Edits a counter. */
@EditDsl
public class CounterEdit internal constructor(private val edits: MutableList<Edit>, private val path: List<PathStep>) {
    /** Adds to it; concurrent increments add up. A negative number takes away. */
    public fun increment(by: Long = 1) {
        edits += Edit.Increment(path, by)
    }
}
