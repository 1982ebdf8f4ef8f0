package tombolo

import kotlinx.coroutines.flow.Flow

/**
 * Edits the document: what the block does is one change, durable when this returns.
 *
 * ```
 * document.edit {
 *     this["title"] = "Reef survey"
 *     text("body").append("Low tide at six.")
 * }
 * ```
 *
 * If the block throws, nothing has changed. If the coroutine is cancelled while this waits, the change may have been made.
 *
 * @throws TomboloException.Misuse for what can not be done: a position beyond the end, a list where a map is.
 * @throws TomboloException.Denied below writer.
 * @throws TomboloException.Store if the disk does not take it.
 */
public suspend fun Document.edit(block: MapEdit.() -> Unit) {
    val edits = mutableListOf<Edit>()
    MapEdit(edits, emptyList()).block()
    if (edits.isNotEmpty()) edit(edits)
}

/**
 * Reads what is at a path of keys ([String]) and indexes ([Int], [Long]), as in `document.read("tasks", 0, "what")`;
 * without one the whole document. `null` if nothing is there.
 *
 * @throws TomboloException.NotFound for a document that is not here.
 * @throws TomboloException.Document for one that can not be shown.
 */
public suspend fun Document.read(vararg path: Any): Any? = read(path.map(::step))?.plain()

/** Reads with own changes that do not count any more, because the right to write was lost. */
public suspend fun Document.readWithKept(vararg path: Any): Any? = readWithKept(path.map(::step))?.plain()

/** Waits until what this device wrote so far is on a relay's disk. Give it `withTimeout`: without a relay there is no end. */
public suspend fun Document.waitFor(): Unit = waitFor(Milestone.RelayDurable)

/**
 * Watches the document: its present state first, then every change, until the replica is closed or nobody collects.
 *
 * Who collects too slowly misses changes, and is then given [DocumentEvent.Current] again.
 *
 * @throws TomboloException.NotFound where it is collected, for a document that is not here.
 */
public fun Document.events(): Flow<DocumentEvent> = eventFlow { queue ->
    subscribe(object : DocumentListener {
        override fun onEvents(events: List<DocumentEvent>) = queue.take(events)

        override fun onEnd() = queue.end()
    })
}
