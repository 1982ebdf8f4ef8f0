package tombolo

import java.nio.file.Path
import java.time.Instant
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.EnumSource
import org.junit.jupiter.params.provider.ValueSource

/** What is Kotlin's own: values, listeners, flows, vaults, logs, and what a killed process leaves. */
class KotlinTest {
    @TempDir
    lateinit var folder: Path

    private fun story(block: suspend CoroutineScope.() -> Unit) = runBlocking(Dispatchers.Default) {
        withTimeout(PATIENCE) { block() }
    }

    private suspend fun opened(crdt: Crdt = Crdt.YRS): Pair<Replica, Document> {
        val replica = Replica.open(folder.resolve("notes.tombolo"))
        return replica to replica.createWorkspace("things").use { it.createDocument(crdt) }
    }

    @ParameterizedTest
    @EnumSource(Crdt::class)
    fun `values come back as they went in`(crdt: Crdt) = story {
        val (replica, document) = opened(crdt)
        val given = mapOf(
            "null" to null,
            "bool" to true,
            "int" to Long.MIN_VALUE,
            "float" to 0.25,
            "str" to "🌊 e\u0301",
            "moment" to Instant.parse("2026-11-21T09:30:00Z"),
            "text" to Text("typed"),
            "counter" to Counter(7),
            "list" to listOf(1L, listOf(2L, mapOf("three" to 3L)), "4"),
            "map" to mapOf("a" to mapOf("b" to emptyList<Any>())),
        )
        document.edit {
            given.forEach { (key, value) -> this[key] = value }
            put("bytes", byteArrayOf(0, -1))
        }
        val read = document.read() as Map<*, *>
        assertEquals(given, read - "bytes")
        assertArrayEquals(byteArrayOf(0, -1), read["bytes"] as ByteArray)
        assertEquals(3L, document.read("list", 1, 1, "three"))
        assertEquals((given.keys + "bytes").sorted(), document.keys())
        assertThrows(IllegalArgumentException::class.java) { runBlocking { document.edit { put("x", Any()) } } }
        assertThrows(IllegalArgumentException::class.java) { runBlocking { document.read("list", -1) } }
        assertNull(document.read("x"))
        replica.closeStore()
    }

    @Test
    fun `a block that throws changes nothing`() = story {
        val (replica, document) = opened()
        val thrown = runCatching {
            document.edit {
                put("title", "half")
                error("planted")
            }
        }
        assertInstanceOf(IllegalStateException::class.java, thrown.exceptionOrNull())
        assertEquals(emptyMap<String, Any>(), document.read())
        replica.closeStore()
    }

    private class Heard : DocumentListener {
        val events = ConcurrentLinkedQueue<DocumentEvent>()
        val ended = CountDownLatch(1)

        override fun onEvents(events: List<DocumentEvent>) {
            this.events += events
            if (this.events.size == 1) error("a listener that throws")
        }

        override fun onEnd() = ended.countDown()
    }

    @Test
    fun `listeners hear everything in order and outlive what they throw`() = story {
        val (replica, document) = opened()
        val heard = Heard()
        val subscription = document.subscribe(heard)
        while (heard.events.isEmpty()) delay(10)
        repeat(200) { number -> document.edit { put("n", number) } }
        assertInstanceOf(DocumentEvent.Current::class.java, document.events().first())
        replica.closeStore()
        assertTrue(heard.ended.await(60, TimeUnit.SECONDS))
        val changed = heard.events.filterIsInstance<DocumentEvent.Changed>()
        val put = changed.map { (it.patches.last().action as PatchAction.Put).value.plain() }
        assertEquals((0L until 200).toList(), put)
        // The task behind it ends when its last call has returned.
        while (!subscription.isEnded()) delay(10)
    }

    @Test
    fun `who collects slowly is shown the whole again, and the flow ends where the replica does`() = story {
        val (replica, document) = opened()
        val writer = launch { for (n in 1L..6000L step 100) document.edit { for (each in n until n + 100) put("n", each) } }
        var whole = 0
        document.events().takeWhile { event ->
            delay(2)
            when (event) {
                is DocumentEvent.Current -> {
                    whole++
                    (event.value.plain() as Map<*, *>)["n"] != 6000L
                }
                is DocumentEvent.Changed -> (event.patches.last().action as PatchAction.Put).value.plain() != 6000L
            }
        }.collect()
        writer.join()
        assertTrue(whole >= 1)
        val rest = async { document.events().onEach { replica.closeStore() }.toList() }
        assertEquals(1, rest.await().size)
    }

    @Test
    fun `a replicas events begin with how things stand`() = story {
        val (replica, _) = opened()
        val current = replica.events().first() as ReplicaEvent.Current
        assertEquals(listOf("things"), current.workspaces.map { it.name })
        val workspace = current.workspaces[0].id
        val forgotten = replica.events().onEach { event ->
            if (event is ReplicaEvent.Current) replica.forgetWorkspace(workspace, Unsent.DISCARD)
        }.filterIsInstance<ReplicaEvent.WorkspaceForgotten>().first()
        assertEquals(workspace, forgotten.workspace)
        replica.closeStore()
    }

    private class Vault : KeyVault {
        var key: ByteArray? = null
        var fault: Exception? = null

        override fun load(): ByteArray? = fault?.let { throw it } ?: key

        override fun save(key: ByteArray) {
            this.key = key
        }
    }

    @Test
    fun `a vault of the apps keeps the key, and what it throws is told`() = story {
        val path = folder.resolve("a.tombolo")
        val vault = Vault()
        val place = KeyPlace.Vault(vault)
        val identity = Replica.open(path, key = place).use { it.identity() }
        assertEquals(32, vault.key?.size)
        assertFalse(folder.resolve("a.tombolo.key").toFile().exists())
        for (fault in listOf(VaultException.Refused(-25308), IllegalArgumentException("a mistake of the app"))) {
            vault.fault = fault
            assertEquals(StoreFault.VAULT, refused(path, place))
        }
        vault.fault = null
        val kept = vault.key
        vault.key = ByteArray(32)
        assertEquals(StoreFault.WRONG_KEY, refused(path, place))
        vault.key = kept
        assertEquals(identity, Replica.open(path, key = place).use { it.identity() })
    }

    private suspend fun refused(path: Path, place: KeyPlace): StoreFault? =
        (runCatching { Replica.open(path, key = place) }.exceptionOrNull() as? TomboloException.Store)?.fault

    @Test
    fun `the log goes to a function`() = story {
        val lines = ConcurrentLinkedQueue<String>()
        logTo(LogLevel.TRACE) { lines += it.text }
        val (replica, document) = opened()
        val thrown = runCatching { document.edit { text("body").splice(9, 0, "secret words") } }
        assertEquals(MisuseFault.OUT_OF_RANGE, (thrown.exceptionOrNull() as TomboloException.Misuse).fault)
        while (lines.none { "OutOfRange" in it }) delay(10)
        logTo(sink = null)
        replica.closeStore()
        assertTrue(lines.none { "secret words" in it })
    }

    @ParameterizedTest
    @ValueSource(ints = [20, 60, 140])
    fun `what was acknowledged is there after the process was killed`(after: Int) = story {
        val path = folder.resolve("notes.tombolo")
        val java = Path.of(System.getProperty("java.home"), "bin", "java").toString()
        val classes = System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path")
        val library = "-Djna.library.path=" + System.getProperty("jna.library.path")
        val writer = ProcessBuilder(java, library, "-cp", classes, "tombolo.WriterKt", path.toString()).start()
        val lines = writer.inputReader()
        val name = lines.readLine().substringAfter(' ')
        val acknowledged = MutableList(after) { lines.readLine() }
        // By the handle, which leaves its pipe to be read; on Linux this is SIGKILL.
        writer.toHandle().destroyForcibly()
        acknowledged += generateSequence { lines.readLine() }.filter { it.isNotBlank() }
        writer.waitFor()
        Replica.open(path).use { replica ->
            val kept = replica.document(name).read() as Map<*, *>
            assertTrue(kept.keys.containsAll(acknowledged), "${acknowledged - kept.keys} are lost")
            assertEquals(setOf<Any?>("x".repeat(200)), kept.values.toSet())
        }
    }

    @Test
    fun `no handle is left when the app lets go`() = story {
        val before = settledCount()
        val replica = Replica.open(folder.resolve("notes.tombolo"))
        replica.use {
            it.createWorkspace("things").use { workspace ->
                workspace.createDocument(Crdt.YRS).use { document ->
                    document.events().first()
                    assertThrows(TimeoutCancellationException::class.java) {
                        runBlocking { withTimeout(100.milliseconds) { document.waitFor() } }
                    }
                    assertTrue(liveObjectCount() > before)
                }
            }
        }
        assertEquals(before, liveObjectCount())
    }
}

/** Other tests leave their handles to the collector: waits until it has them. */
internal suspend fun settledCount(): ULong {
    var before = liveObjectCount()
    do {
        val last = before
        System.gc()
        delay(200)
        before = liveObjectCount()
    } while (before < last)
    return before
}
