package tombolo

import java.nio.file.Path
import kotlin.io.path.pathString
import kotlin.time.Duration
import kotlin.time.toJavaDuration
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.withContext

/**
 * Opens a store, or makes it. No network is needed; relays that were dialled before are dialled again.
 *
 * @param path the store's file; a store is open in one process at a time.
 * @param key where its key is kept; by default in a file beside it that only its owner may read.
 * @param durability what a resolved edit survives; a power cut by default.
 * @param memoryBytes bounds the memory of open documents that nobody watches; 64 MiB by default.
 * @param snapshotEntries entries since a document's newest snapshot from which its busiest writer publishes it anew as it is
 *   opened, while the others vouch for it; then a relay may delete what it stands for, if it is told to. Never by default.
 * @param compactAfter how long a published snapshot must have had the words of enough members before this device gives up the
 *   entries that it stands for; the document stays as it is. Never by default.
 * @param appType marks the documents that this app creates.
 * @param trustedRoots certificate authorities (DER) to trust for relays, beside the web's.
 * @param offline dials no relay before `resume` or [syncOnce].
 * @throws TomboloException.Store whose `fault` says what is in the way: another process, the disk, the key.
 */
public suspend fun Replica.Companion.open(
    path: Path,
    key: KeyPlace? = null,
    durability: Durability? = null,
    memoryBytes: Long? = null,
    snapshotEntries: Long? = null,
    compactAfter: Duration? = null,
    appType: String? = null,
    trustedRoots: List<ByteArray> = emptyList(),
    offline: Boolean = false,
): Replica = open(
    OpenOptions(
        path.pathString, key, durability, memoryBytes?.toULong(), snapshotEntries?.toULong(),
        compactAfter?.toJavaDuration(), appType, trustedRoots, offline,
    ),
)

/**
 * Brings a user back from a kit, into a new store; workspaces come as soon as a relay was dialled.
 *
 * @throws TomboloException.Misuse if there is a workspace at the path.
 */
public suspend fun Replica.Companion.recover(
    kit: RecoveryKit,
    path: Path,
    key: KeyPlace? = null,
    trustedRoots: List<ByteArray> = emptyList(),
): Replica = recover(kit, OpenOptions(path.pathString, key, trustedRoots = trustedRoots))

/**
 * Ends all sessions and closes the store; closing it again does nothing. Handles answer `Closed` from then on.
 *
 * @throws TomboloException.Store if something could not be written back; nothing acknowledged is lost.
 */
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

/**
 * Reaches a relay, and keeps reaching it: the address is remembered by the store. Returns before it is reached.
 *
 * @param address `wss://…`, or `ws://` on this machine.
 * @param allowProxy for a relay behind a proxy that ends TLS, which must be trusted.
 * @param token what a relay wants that admits by token.
 * @throws TomboloException.Input for an address that can not be dialled safely.
 */
public suspend fun Replica.dial(address: String, allowProxy: Boolean = false, token: String? = null): Unit =
    dial(address, allowProxy, token)

/**
 * Reaches the relays, and returns as soon as nothing is owed: what fits a background task.
 *
 * @throws TomboloException.Deadline if the time is over first; the work goes on while the replica is open.
 */
public suspend fun Replica.syncOnce(deadline: Duration): Unit = syncOnce(deadline.toJavaDuration())

/** Says that the network has changed: relays are dialled at once instead of after their wait. */
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

/**
 * Makes an invite: a text to show or send, which is a secret until it is used. Give it to `Replica.join`.
 *
 * @param expiresIn from now, by the relay's clock; without it the invite stays until it is used up or revoked.
 * @param uses how many may join by it; `null` for any number.
 * @throws TomboloException.Denied for a role that this user may not give.
 * @throws TomboloException.NotReady while no relay was ever reached, which is to count the uses.
 */
public suspend fun Workspace.invite(role: Role, expiresIn: Duration? = null, uses: Int? = 1): String =
    invite(role, expiresIn?.toJavaDuration(), uses?.toUInt())

/**
 * Gives a member another role, for good. What is returned says whether it is stated, or kept until a relay was caught up with.
 *
 * @throws TomboloException.Denied if it would not count.
 */
public suspend fun Workspace.setRole(user: UserId, role: Role): ActOutcome = setRole(user, role, null)
