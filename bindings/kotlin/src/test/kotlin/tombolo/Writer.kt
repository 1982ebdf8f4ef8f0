package tombolo

import java.nio.file.Path
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/** Writes until it is killed, and says what was acknowledged: four edits are under way at any time. */
fun main(arguments: Array<String>): Unit = runBlocking {
    val replica = Replica.open(Path.of(arguments[0]))
    val document = replica.createWorkspace("things").createDocument(Crdt.YRS)
    println("document ${document.id()}")
    var number = 0
    while (true) {
        coroutineScope {
            repeat(4) {
                val mine = number++
                launch {
                    document.edit { put(mine.toString(), "x".repeat(200)) }
                    println(mine)
                }
            }
        }
    }
}
