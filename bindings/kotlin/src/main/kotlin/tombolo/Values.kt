package tombolo

import java.time.Instant

/**
 * Plain Kotlin values for those of a document, both ways.
 *
 * `null`, [Boolean], [Int], [Long], [Double], [String], [ByteArray], [Map], [List] and [Instant] stand for themselves. What
 * Kotlin has no type for has one here: [Text] and [Counter]. Numbers come back as [Long] and [Double].
 */

/** A string that is edited character by character; a plain [String] is replaced as a whole. */
public data class Text(val string: String) {
    override fun toString(): String = string
}

/** A number in which concurrent increments add up. */
public data class Counter(val number: Long) {
    override fun toString(): String = number.toString()
}

/** Takes a plain value for a document's; throws [IllegalArgumentException] for what no document can hold. */
public fun Value.Companion.of(plain: Any?): Value = when (plain) {
    null -> Value.Null
    is Value -> plain
    is Boolean -> Value.Bool(plain)
    is Byte, is Short, is Int, is Long -> Value.I64((plain as Number).toLong())
    is Float -> Value.F64(plain.toDouble())
    is Double -> Value.F64(plain)
    is Text -> Value.Text(plain.string)
    is Counter -> Value.Counter(plain.number)
    is Instant -> Value.Timestamp(plain.toEpochMilli())
    is CharSequence -> Value.String(plain.toString())
    is ByteArray -> Value.Bytes(plain)
    is Map<*, *> -> Value.Entries(plain.entries.associate { (key, value) -> key(key) to Value.of(value) })
    is Iterable<*> -> Value.Elements(plain.map { Value.of(it) })
    else -> throw IllegalArgumentException("no document can hold a ${plain::class.simpleName}")
}

private fun key(key: Any?): String = requireNotNull(key as? String) { "keys are strings, and $key is none" }

/** The value as a plain one. */
public fun Value.plain(): Any? = when (this) {
    is Value.Null -> null
    is Value.Bool -> v1
    is Value.I64 -> v1
    is Value.F64 -> v1
    is Value.String -> v1
    is Value.Bytes -> v1
    is Value.Timestamp -> Instant.ofEpochMilli(v1)
    is Value.Counter -> Counter(v1)
    is Value.Text -> Text(v1)
    is Value.Entries -> v1.mapValues { (_, value) -> value.plain() }
    is Value.Elements -> v1.map { it.plain() }
}

/** The path as keys ([String]) and indexes ([Long]). */
public val Patch.steps: List<Any>
    get() = path.map { step ->
        when (step) {
            is PathStep.Key -> step.key
            is PathStep.Index -> step.index.toLong()
        }
    }

internal fun step(step: Any): PathStep = when (step) {
    is PathStep -> step
    is String -> PathStep.Key(step)
    is Int -> PathStep.Index(index(step.toLong()))
    is Long -> PathStep.Index(index(step))
    else -> throw IllegalArgumentException("a path has keys (String) and indexes (Int, Long), and $step is neither")
}

internal fun index(number: Long): ULong {
    require(number >= 0) { "$number is no position" }
    return number.toULong()
}
