package tombolo

import java.nio.file.Files
import java.nio.file.Path
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.io.TempDir

/** The scenarios that all languages run alike. */
class ConformanceTest {
    @TempDir
    lateinit var folder: Path

    @TestFactory
    fun scenarios(): List<DynamicTest> = Scenario.read(Path.of(System.getProperty("tombolo.scenarios"))).map { scenario ->
        DynamicTest.dynamicTest(scenario.name) {
            val own = Files.createTempDirectory(folder, "scenario")
            runBlocking(Dispatchers.Default) { coroutineScope { Stage(own, this).play(scenario) } }
        }
    }
}
