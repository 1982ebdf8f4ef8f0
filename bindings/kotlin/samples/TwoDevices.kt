package tombolo.samples

import kotlin.io.path.createTempDirectory
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import tombolo.Crdt
import tombolo.Milestone
import tombolo.Replica
import tombolo.Role
import tombolo.dial
import tombolo.edit
import tombolo.events
import tombolo.invite
import tombolo.open
import tombolo.read
import tombolo.use
import tombolo.waitFor

/** Two devices share notes through a relay, whose address is the one argument: `ws://127.0.0.1:8080`. */
fun main(arguments: Array<String>): Unit = runBlocking {
    val relay = requireNotNull(arguments.singleOrNull()) { "Name a relay: ws://127.0.0.1:8080" }
    val folder = createTempDirectory("tombolo")
    Replica.open(folder.resolve("ann.tombolo")).use { ann ->
        Replica.open(folder.resolve("ben.tombolo")).use { ben ->
            withTimeout(60.seconds) { println(share(ann, ben, relay)) }
        }
    }
}

/** What both have in the end. */
suspend fun share(ann: Replica, ben: Replica, relay: String): Any? {
    val workspace = ann.createWorkspace("Field notes")
    val document = workspace.createDocument(Crdt.YRS)
    document.edit { text("body").append("Low tide at six.") } // no network yet

    ann.dial(relay)
    document.waitFor() // a relay has it
    val invite = workspace.invite(Role.WRITER)

    ben.dial(relay)
    val shared = ben.join(invite)
    shared.ready()
    ben.events().first { shared.documents().isNotEmpty() } // first how things stand, then what happens
    val theirs = ben.document(shared.documents().first().id)
    theirs.events().first { theirs.read("body") != null }
    theirs.edit { text("body").append(" Bring boots.") }
    theirs.waitFor(Milestone.SeenBy(ann.identity().device))
    return document.read("body")
}
