package tombolo

import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** Events that wait for who collects. */
private const val WAITING_MAX = 4096

/** Somebody collects too slowly: what waited is delivered, and then it begins again with the present state. */
private class Behind : Exception()

/** What a listener heard and nobody has collected yet. The listeners' thread never waits for it. */
internal class EventQueue<E> {
    private val waiting = Channel<E>(WAITING_MAX)

    fun take(events: List<E>) {
        for (event in events) {
            if (waiting.trySend(event).isFailure) {
                waiting.close(Behind())
                return
            }
        }
    }

    fun end() {
        waiting.close()
    }

    /** Delivers all; says whether it has to begin again. */
    suspend fun deliver(to: suspend (E) -> Unit): Boolean {
        while (true) {
            val next = waiting.receiveCatching()
            if (next.isClosed) return next.exceptionOrNull() is Behind
            to(next.getOrThrow())
        }
    }
}

/** A flow that subscribes when it is collected, and ends the subscription when it is not any more. */
internal fun <E> eventFlow(subscribe: suspend (EventQueue<E>) -> Subscription): Flow<E> = flow {
    do {
        val queue = EventQueue<E>()
        val subscription = subscribe(queue)
        val again = try {
            queue.deliver(::emit)
        } finally {
            subscription.cancel()
            subscription.close()
        }
    } while (again)
}
