package tombolo

import kotlinx.coroutines.flow.Flow

/**
 * Edits the document: what the block does is one change, durable when this returns.
 *
 * If the block throws, nothing has changed. If the coroutine is cancelled while this waits, the change may have been made.
 */
public suspend fun Document.edit(block: MapEdit.() -> Unit) {
    val edits = mutableListOf<Edit>()
    MapEdit(edits, emptyList()).block()
    if (edits.isNotEmpty()) edit(edits)
}

/** Reads what is at a path of keys and indexes; without one the whole document. `null` if nothing is there. */
public suspend fun Document.read(vararg path: Any): Any? = read(path.map(::step))?.plain()

/** Reads with own changes that do not count any more, because the right to write was lost. */
public suspend fun Document.readWithKept(vararg path: Any): Any? = readWithKept(path.map(::step))?.plain()

/** Waits until a relay has what this device wrote. Give it `withTimeout`: without a relay there is no end. */
public suspend fun Document.waitFor(): Unit = waitFor(Milestone.RelayDurable)

/**
 * Watches the document: its present state first, then every change, until the replica is closed or nobody collects.
 *
 * Who collects too slowly misses changes, and is then given [DocumentEvent.Current] again.
 */
public fun Document.events(): Flow<DocumentEvent> = eventFlow { queue ->
    subscribe(object : DocumentListener {
        override fun onEvents(events: List<DocumentEvent>) = queue.take(events)

        override fun onEnd() = queue.end()
    })
}
