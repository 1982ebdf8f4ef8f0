package tombolo

import java.nio.file.Files
import java.nio.file.Path
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** What takes minutes: memory after very many calls. Only when asked for. */
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

    /** The heap is resident from the start (`-Xms` is `-Xmx`, and all of it is touched), so what grows lies beside it. */
    private class Memory {
        val heapMib: Long
        val residentMib: Long

        init {
            System.gc()
            heapMib = with(Runtime.getRuntime()) { totalMemory() - freeMemory() } shr 20
            residentMib = Files.readString(Path.of("/proc/self/statm")).split(' ')[1].toLong() * 4096 shr 20
        }

        override fun toString() = "$residentMib MiB resident, $heapMib MiB on the heap"
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
        val before = settledCount()
        calls(replica, document, 200_000)
        repeat(5_000) { document.events().first() }
        val warm = Memory()
        calls(replica, document, 1_000_000)
        val called = Memory()
        repeat(100_000) { document.events().first() }
        delay(1000)
        val listened = Memory()
        println("kotlin, warm: $warm; after the calls: $called; after the listeners: $listened")
        assertEquals(before, settledCount())
        for ((earlier, later) in listOf(warm to called, called to listened)) {
            assertTrue(later.heapMib - earlier.heapMib < 8, "$earlier, then $later")
            assertTrue(later.residentMib - earlier.residentMib < 32, "$earlier, then $later")
        }
    }
}
