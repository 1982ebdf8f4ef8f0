package tombolo

import java.nio.file.Files
import java.nio.file.Path
import kotlin.time.Duration
import kotlin.time.measureTime
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** What takes minutes: memory after very many calls, and what each costs. Only when asked for. */
@Tag("slow")
class SlowTest {
    @TempDir
    lateinit var folder: Path

    private fun story(block: suspend (Replica, Document) -> Unit): Unit = runBlocking {
        Replica.open(folder.resolve("notes.tombolo")).use { replica ->
            val document = replica.createWorkspace("things").use { it.createDocument(Crdt.YRS) }
            document.use { block(replica, it) }
        }
    }

    private fun residentMib(): Long {
        System.gc()
        val pages = Files.readString(Path.of("/proc/self/statm")).split(' ')[1].toLong()
        return pages * 4096 shr 20
    }

    private suspend fun calls(replica: Replica, document: Document, count: Int) = repeat(count / 10) {
        replica.document(document.id()).use { handle ->
            repeat(8) { handle.id() }
            handle.read("title")
        }
    }

    @Test
    fun `a million calls and a hundred thousand listeners leak nothing`() = story { replica, document ->
        document.edit { put("title", "Reef survey") }
        val before = liveObjectCount()
        calls(replica, document, 200_000)
        repeat(5_000) { document.events().first() }
        val resident = residentMib()
        calls(replica, document, 1_000_000)
        val afterCalls = residentMib()
        repeat(100_000) { document.events().first() }
        delay(1000)
        val afterListeners = residentMib()
        println("kotlin, resident MiB: $resident -> $afterCalls -> $afterListeners")
        assertEquals(before, liveObjectCount())
        assertTrue(afterCalls - resident < 64 && afterListeners - afterCalls < 64)
    }

    @Test
    fun `what things cost`() = story { replica, document ->
        document.edit {
            put("title", "Reef survey")
            put("large", "x".repeat(1 shl 20))
        }
        report("call", 100_000) { document.id() }
        report("read", 10_000) { document.read("title") }
        report("read of 1 MiB", 200) { document.read("large") }
        report("edit", 500) { document.edit { put("n", 1) } }
        val number = 500
        val heard = runBlocking {
            val writer = launch { repeat(number) { document.edit { put("n", it) } } }
            val time = measureTime {
                document.events().takeWhile { event ->
                    event !is DocumentEvent.Changed || (event.patches.last().action as PatchAction.Put).value.plain() != number - 1L
                }.collect()
            }
            writer.join()
            time
        }
        println("timing kotlin, edit and its event: ${heard / number}")
    }

    private suspend fun report(name: String, count: Int, call: suspend () -> Unit) {
        repeat(count / 10) { call() }
        val time: Duration = measureTime { repeat(count) { call() } }
        println("timing kotlin, $name: ${time / count}")
    }
}
