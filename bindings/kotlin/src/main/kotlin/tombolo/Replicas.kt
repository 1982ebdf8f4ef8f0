package tombolo

import java.nio.file.Path
import kotlin.io.path.pathString
import kotlin.time.Duration
import kotlin.time.toJavaDuration
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.withContext

/** Opens a store, or makes it. No network is needed. */
public suspend fun Replica.Companion.open(
    path: Path,
    key: KeyPlace? = null,
    durability: Durability? = null,
    memoryBytes: Long? = null,
    appType: String? = null,
    trustedRoots: List<ByteArray> = emptyList(),
    offline: Boolean = false,
): Replica = open(
    OpenOptions(path.pathString, key, durability, memoryBytes?.toULong(), appType, trustedRoots, offline),
)

/** Brings a user back from a kit, into a new store. */
public suspend fun Replica.Companion.recover(
    kit: RecoveryKit,
    path: Path,
    key: KeyPlace? = null,
    trustedRoots: List<ByteArray> = emptyList(),
): Replica = recover(kit, OpenOptions(path.pathString, key, trustedRoots = trustedRoots))

/** Ends all sessions and closes the store; closing it again does nothing. Handles answer `Closed` from then on. */
public suspend fun Replica.closeStore() {
    try {
        shutdown()
    } catch (_: TomboloException.Closed) {
        // It is what was asked for.
    }
}

/** Runs a block, closes the store, and lets the handle go; a plain `close` lets the handle go and waits for nothing. */
public suspend inline fun <R> Replica.use(block: (Replica) -> R): R {
    try {
        return block(this)
    } finally {
        withContext(NonCancellable) { closeStore() }
        close()
    }
}

/** Reaches a relay, and keeps reaching it: the address is remembered by the store. */
public suspend fun Replica.dial(address: String, allowProxy: Boolean = false, token: String? = null): Unit =
    dial(address, allowProxy, token)

/** Reaches the relays, and returns as soon as nothing is owed; throws [TomboloException.Deadline]. */
public suspend fun Replica.syncOnce(deadline: Duration): Unit = syncOnce(deadline.toJavaDuration())

/** Says that the network has changed. */
public suspend fun Replica.notifyNetwork(): Unit = notifyNetwork(Reachability.REACHABLE)

/**
 * Hears of everything that happens: how things stand first.
 *
 * Who collects too slowly misses events, and is then given [ReplicaEvent.Current] again.
 */
public fun Replica.events(): Flow<ReplicaEvent> = eventFlow { queue ->
    subscribe(object : ReplicaListener {
        override fun onEvents(events: List<ReplicaEvent>) = queue.take(events)

        override fun onEnd() = queue.end()
    })
}

/** Makes an invite, for one who joins unless told; `uses = null` lets any number join. */
public suspend fun Workspace.invite(role: Role, expiresIn: Duration? = null, uses: Int? = 1): String =
    invite(role, expiresIn?.toJavaDuration(), uses?.toUInt())

/** Gives a member another role, for good. */
public suspend fun Workspace.setRole(user: UserId, role: Role): ActOutcome = setRole(user, role, null)
