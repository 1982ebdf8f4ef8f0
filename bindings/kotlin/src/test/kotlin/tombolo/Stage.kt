package tombolo

import java.nio.file.Path
import java.time.Instant
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.channels.ReceiveChannel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.merge
import kotlinx.coroutines.flow.produceIn
import kotlinx.coroutines.joinAll
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.longOrNull

/** How long anything may take on a busy machine. */
val PATIENCE = 120.seconds
private val CANCELLED = 100.milliseconds

/** The people of one scenario, and what they hold: one verb of the scenarios each. */
class Stage(private val folder: Path, private val scope: CoroutineScope) {
    private var relay: Relay? = null
    private val replicas = mutableMapOf<String, Replica>()
    private val workspaces = mutableMapOf<String, String>()
    private val documents = mutableMapOf<String, String>()
    private val invites = mutableMapOf<String, String>()
    private val watches = mutableMapOf<String, ReceiveChannel<DocumentEvent>>()
    private var address: String? = null
    private var kit: RecoveryKit? = null

    /** Is told of each name that a step gives to something, for other stages. */
    var told: (kind: String, name: String, value: String) -> Unit = { _, _, _ -> }

    suspend fun play(scenario: Scenario) {
        try {
            scenario.steps.forEachIndexed { number, step ->
                try {
                    withTimeout(PATIENCE) { step(step) }
                } catch (failure: Throwable) {
                    throw AssertionError("step ${number + 1}, `${step.joinToString(" ")}`: $failure", failure)
                }
            }
        } finally {
            end()
        }
    }

    suspend fun end() {
        watches.values.forEach { it.cancel() }
        replicas.values.forEach { it.closeStore() }
        replicas.values.forEach { it.close() }
        relay?.kill()
    }

    /** Learns what another stage has named. */
    fun learn(kind: String, name: String, value: String) {
        when (kind) {
            "workspace" -> workspaces[name] = value
            "document" -> documents[name] = value
            "invite" -> invites[name] = value
            "relay" -> address = value
            else -> error("nobody learns a $kind")
        }
    }

    private fun name(kind: String, name: String, value: String) {
        learn(kind, name, value)
        told(kind, name, value)
    }

    suspend fun step(words: List<String>) {
        val (verb, who) = words[0] to words.getOrElse(1) { "" }
        val rest = words.drop(2)
        when (verb) {
            "open", "reopen" -> replicas[who] = Replica.open(store(who))
            "close" -> replica(who).closeStore()
            "found" -> name("workspace", rest[0], replica(who).createWorkspace(rest[0]).use { it.id() })
            "create" -> create(who, rest[0], rest[1], rest[2])
            "put", "type", "append", "push", "take", "count", "drop" -> edit(verb, who, rest)
            "expect" -> expect(who, rest)
            "arrives" -> with(who, rest[0]) { until(plain(rest[2]), events()) { bare(read(rest[1])) } }
            "version" -> told("version", rest[0], with(who, rest[0]) { version() }.toHexString())
            "read-unknown" -> replica(who).document("00".repeat(16)).use { it.read() }
            "read-misnamed" -> replica(who).document("no id")
            "watch", "unwatch", "hears" -> watching(verb, who, rest)
            "fails" -> fails(who, rest)
            "cancels" -> cancels(words.drop(1))
            else -> others(verb, who, rest)
        }
    }

    private suspend fun others(verb: String, who: String, rest: List<String>) {
        when (verb) {
            "relay", "cut", "mend", "dial", "dial-at", "settled", "owed", "only", "all", "durable", "same", "pause", "resume",
            "sync" ->
                relays(verb, who, rest)
            "link", "devices", "revoke", "kit", "recover" -> devices(verb, who, rest)
            else -> people(verb, who, rest)
        }
    }

    private fun store(who: String): Path = folder.resolve("$who.tombolo")

    private fun replica(who: String): Replica = checkNotNull(replicas[who]) { "$who is not here" }

    private suspend fun <R> with(who: String, document: String, block: suspend Document.() -> R): R =
        replica(who).document(documents.getValue(document)).use { it.block() }

    private suspend fun <R> inside(who: String, workspace: String, block: suspend Workspace.() -> R): R =
        replica(who).workspace(workspaces.getValue(workspace)).use { it.block() }

    /** Looks whenever something has happened: the first event is how things stand. */
    private suspend fun <T> until(wanted: T, events: Flow<*>, look: suspend () -> T) {
        events.first { look() == wanted }
    }

    // Documents.

    private suspend fun create(who: String, workspace: String, document: String, crdt: String) {
        val kind = Crdt.valueOf(crdt.uppercase())
        name("document", document, inside(who, workspace) { createDocument(kind).use { it.id() } })
    }

    private suspend fun edit(verb: String, who: String, rest: List<String>) = with(who, rest[0]) {
        val key = if (rest[1].startsWith('"')) plain(rest[1]) as String else rest[1]
        val words = rest.drop(2)
        edit {
            when (verb) {
                "put" -> put(key, plain(words[0]))
                "type" -> text(key).splice(words[0].toInt(), words[1].toInt(), plain(words[2]) as String)
                "append" -> text(key).append(plain(words[0]) as String)
                "push" -> list(key).append(plain(words[0]))
                "take" -> list(key).remove(words[0].toInt(), words[1].toInt())
                "count" -> counter(key).increment(words[0].toLong())
                else -> delete(key)
            }
        }
    }

    private suspend fun expect(who: String, rest: List<String>) {
        val found = bare(with(who, rest[0]) { read(rest[1]) })
        check(found == plain(rest[2])) { "$found is not ${rest[2]}" }
    }

    private suspend fun watching(verb: String, who: String, rest: List<String>) {
        val name = "$who ${rest[0]}"
        when (verb) {
            "watch" -> {
                val document = replica(who).document(documents.getValue(rest[0]))
                watches[name] = document.events().produceIn(scope)
            }
            "unwatch" -> watches.remove(name)?.cancel()
            else -> {
                val wanted = plain(rest[2])
                for (event in watches.getValue(name)) if (shows(event, rest[1], wanted)) return
                error("the events have ended")
            }
        }
    }

    private fun shows(event: DocumentEvent, key: String, wanted: Any?): Boolean = when (event) {
        is DocumentEvent.Current -> (event.value.plain() as Map<*, *>)[key] == wanted
        is DocumentEvent.Changed -> event.patches.any { patch ->
            val action = patch.action
            patch.steps == listOf(key) && action is PatchAction.Put && action.value.plain() == wanted
        }
    }

    // Relays.

    private suspend fun relays(verb: String, who: String, rest: List<String>) {
        when (verb) {
            "relay" -> relay = Relay(folder.resolve("relay")).also { name("relay", "relay", it.address) }
            "cut" -> relay?.kill()
            "mend" -> {
                relay?.start()
                replicas.values.forEach { it.notifyNetwork() }
            }
            "dial" -> replica(who).dial(checkNotNull(address))
            "dial-at" -> replica(who).dial(plain(rest[0]) as String)
            "settled" -> inside(who, rest[0]) { settled() }
            "owed" -> {
                val debt = inside(who, rest[0]) { syncDebt() }
                check(!debt.settled && (debt.documents.isNotEmpty() || debt.records > 0u)) { "$debt" }
            }
            "only" -> {
                val ids = rest.drop(1).map { checkNotNull(documents[it]) }
                inside(who, rest[0]) { syncOnly(ids) }
                check(inside(who, rest[0]) { syncedOnly() } == ids.sorted())
            }
            "all" -> inside(who, rest[0]) { syncAll() }
            "durable" -> with(who, rest[0]) { waitFor() }
            "same" -> with(rest[0], who) {
                val here = this
                with(rest[1], who) { until(true, merge(here.events(), events())) { here.version().contentEquals(version()) } }
            }
            "pause" -> replica(who).pause()
            "resume" -> replica(who).resume()
            else -> replica(who).syncOnce(rest[0].toDouble().seconds)
        }
    }

    // People.

    private suspend fun people(verb: String, who: String, rest: List<String>) {
        when (verb) {
            "invite" -> name("invite", rest[0], inside(who, rest[0]) { invite(role(rest[1])) })
            "accept" -> replica(who).join(plain(rest[0]) as String).close()
            "join" -> replica(who).join(invites.getValue(rest[0])).use { it.ready() }
            "has" -> until(true, replica(who).events()) { lists(who, documents.getValue(rest[0])) }
            "role" -> inside(who, rest[0]) { setRole(replica(rest[1]).identity().user, role(rest[2])) }
            "remove" -> inside(who, rest[0]) { removeMember(replica(rest[1]).identity().user) }
            "members" -> until(rest[1].toInt(), replica(who).events()) { inside(who, rest[0]) { members().size } }
            "becomes" -> until(if (rest[1] == "none") null else role(rest[1]), replica(who).events()) {
                replica(who).workspaces().find { it.id == workspaces[rest[0]] }?.role
            }
            else -> error("nobody knows how to $verb")
        }
    }

    private fun role(name: String): Role = Role.valueOf(name.uppercase())

    private suspend fun lists(who: String, document: String): Boolean = replica(who).workspaces().any { held ->
        replica(who).workspace(held.id).use { inside -> inside.documents().any { it.id == document } }
    }

    // Devices.

    private suspend fun devices(verb: String, who: String, rest: List<String>) {
        when (verb) {
            "link" -> link(who, rest[0])
            "devices" -> until(rest[0].toInt(), replica(who).events()) { replica(who).devices().count { !it.revoked } }
            "revoke" -> replica(who).revokeDevice(replica(rest[0]).identity().device)
            "kit" -> {
                val words = replica(who).recoveryKit().use { it.words() }
                kit = RecoveryKit.fromWords(words).also { replica(who).confirmKit(it) }
            }
            else -> replicas[who] = Replica.recover(checkNotNull(kit), store(who))
        }
    }

    private suspend fun link(new: String, old: String) {
        val request = replica(new).requestLink(checkNotNull(address), LinkWay.SCAN)
        val approval = replica(old).approveLink(request.text())
        val digits = request.digits()
        approval.asked()
        approval.confirm(digits)
        check(request.linked() == replica(old).identity().user)
    }

    // Steps about steps.

    private suspend fun fails(kind: String, step: List<String>) {
        val wanted = kind.split('.')
        try {
            step(step)
        } catch (error: TomboloException) {
            val named = listOf(error::class.simpleName, fault(error))
            check(named.take(wanted.size) == wanted) { "$named is not $kind: ${error.reason}" }
            check(error.reason.split(' ').size > 3) { "$kind gives no reason: ${error.reason}" }
            return
        }
        error("it did not fail with $kind")
    }

    private fun fault(error: TomboloException): String? = when (error) {
        is TomboloException.Store -> error.fault
        is TomboloException.Misuse -> error.fault
        is TomboloException.Document -> error.fault
        is TomboloException.NotFound -> error.what
        is TomboloException.Denied -> error.`by`
        is TomboloException.NotReady -> error.missing
        is TomboloException.Input -> error.what
        is TomboloException.StepUp -> error.refusal
        else -> null
    }?.name

    private suspend fun cancels(step: List<String>) = coroutineScope {
        val waiting = async(Dispatchers.Default) { step(step) }
        delay(200)
        check(!waiting.isCompleted) { "it did not wait" }
        val began = TimeSource.Monotonic.markNow()
        waiting.cancel()
        joinAll(waiting)
        check(waiting.isCancelled && began.elapsedNow() < CANCELLED) { "it took ${began.elapsedNow()} to cancel" }
    }
}

/** What a word of JSON says, in plain values. */
fun plain(word: String): Any? = plain(Json.parseToJsonElement(word))

private fun plain(json: JsonElement): Any? = when (json) {
    is JsonNull -> null
    is JsonArray -> json.map { plain(it) }
    is JsonObject -> json.mapValues { (_, value) -> plain(value) }
    is JsonPrimitive -> if (json.isString) json.content else json.booleanOrNull ?: json.longOrNull ?: json.doubleOrNull
}

/** Texts, counters and moments as the strings and numbers that the scenarios have for them. */
fun bare(value: Any?): Any? = when (value) {
    is Text -> value.string
    is Counter -> value.number
    is Instant -> value.toEpochMilli()
    is Map<*, *> -> value.mapValues { (_, inner) -> bare(inner) }
    is List<*> -> value.map { bare(it) }
    else -> value
}
