package tombolo

import java.nio.file.Path
import kotlin.io.path.readLines

/** One of the scenarios that all languages run. */
class Scenario(val name: String, val steps: List<List<String>>) {
    companion object {
        private val WORD = Regex(""""(?:\\.|[^"\\])*"|(?:[^\s"]|"(?:\\.|[^"\\])*")+""")

        fun words(line: String): List<String> = WORD.findAll(line).map { it.value }.toList()

        /** Reads all of a file; one for each CRDT where it says so. */
        fun read(file: Path): List<Scenario> {
            val blocks = mutableListOf<Pair<List<String>, MutableList<List<String>>>>()
            for (line in file.readLines().filterNot { it.startsWith("#") }) {
                val words = words(line)
                when (words.firstOrNull()) {
                    null -> continue
                    "scenario" -> blocks += words.drop(1) to mutableListOf()
                    else -> blocks.last().second += words
                }
            }
            return blocks.flatMap { (head, steps) ->
                if ("each-crdt" !in head) return@flatMap listOf(Scenario(head[0], steps))
                listOf("automerge", "yrs").map { crdt ->
                    Scenario("${head[0]} $crdt", steps.map { step -> step.map { if (it == "CRDT") crdt else it } })
                }
            }
        }
    }
}
