package tombolo

import kotlin.io.path.createTempDirectory
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

/**
 * One device of a test in which several languages take part: steps come in, one a line, and what was named goes out.
 *
 * `learn KIND NAME VALUE` in either direction; after each other line, `done`, or `failed` and why. With `time`, names
 * and counts it times calls instead.
 */
fun main(arguments: Array<String>): Unit = runBlocking(Dispatchers.Default) {
    if (arguments.firstOrNull() == "time") return@runBlocking report(createTempDirectory("tombolo"), arguments.drop(1))
    coroutineScope {
        val stage = Stage(createTempDirectory("tombolo"), this)
        stage.told = { kind, name, value -> println("learn $kind $name $value") }
        for (line in generateSequence(::readLine)) {
            val words = Scenario.words(line)
            if (words.firstOrNull() == "learn") {
                stage.learn(words[1], words[2], words[3])
                continue
            }
            try {
                withTimeout(PATIENCE) { stage.step(words) }
                println("done")
            } catch (failure: Exception) {
                println("failed: $failure".replace('\n', ' '))
            }
        }
        stage.end()
    }
}
