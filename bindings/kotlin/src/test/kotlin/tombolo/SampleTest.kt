package tombolo

import java.nio.file.Path
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import tombolo.samples.share

/** The sample is a program that works. */
class SampleTest {
    @TempDir
    lateinit var folder: Path

    @Test
    fun `two devices share notes`(): Unit = runBlocking {
        val relay = Relay(folder.resolve("relay"))
        try {
            Replica.open(folder.resolve("ann")).use { ann ->
                Replica.open(folder.resolve("ben")).use { ben ->
                    val both = withTimeout(PATIENCE) { share(ann, ben, relay.address) }
                    assertEquals(Text("Low tide at six. Bring boots."), both)
                }
            }
        } finally {
            relay.kill()
        }
    }
}
