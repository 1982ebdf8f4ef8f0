package tombolo

import java.nio.file.Path
import kotlin.time.measureTime
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.produceIn

private const val BATCHES = 10
private const val LARGE_BYTES = 1 shl 20

/**
 * Times what the words name, each with how often, as the other languages do; prints `time NAME NANOSECONDS` for each.
 */
suspend fun report(folder: Path, words: List<String>) {
    suspend fun opened(name: String, durability: Durability): Pair<Replica, Document> {
        val replica = Replica.open(folder.resolve(name), durability = durability)
        return replica to replica.createWorkspace("things").use { it.createDocument(Crdt.YRS) }
    }
    val (quick, document) = opened("process", Durability.PROCESS)
    val (slow, durable) = opened("power", Durability.POWER)
    document.edit {
        put("title", "Reef survey")
        put("large", "x".repeat(LARGE_BYTES))
    }
    for ((what, count) in words.chunked(2)) println("time $what ${one(what, count.toInt(), document, durable)}")
    slow.closeStore()
    quick.closeStore()
}

private suspend fun one(what: String, count: Int, document: Document, durable: Document): Long = when (what) {
    "call" -> median(count) { document.id() }
    "read" -> median(count) { document.read("title") }
    "read-large" -> median(count) { document.read("large") }
    "edit" -> median(count) { turn -> document.edit { put("n", turn) } }
    "edit-durable" -> median(count) { turn -> durable.edit { put("n", turn) } }
    "event" -> coroutineScope {
        val events = document.events().produceIn(this)
        events.receive()
        median(count) { turn ->
            document.edit { put("n", turn) }
            events.receive()
        }.also { events.cancel() }
    }
    else -> error("nobody knows how to time $what")
}

/** Makes a call so often, after half as often to warm the compiler up; returns the nanoseconds of one in the batch in the middle. */
private suspend fun median(count: Int, call: suspend (Int) -> Unit): Long {
    val size = count / BATCHES
    repeat(count / 2) { call(it) }
    val batches = List(BATCHES) { batch ->
        measureTime { for (turn in 0 until size) call(batch * size + turn) }.inWholeNanoseconds / size
    }
    return batches.sorted()[BATCHES / 2]
}
