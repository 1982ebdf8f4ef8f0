package tombolo

import java.nio.file.Path

/** A relay as a process of its own; killed as a power cut would, and started again at its address. */
class Relay(private val folder: Path) {
    var address = "ws://127.0.0.1:0"
        private set
    private lateinit var process: Process

    init {
        start()
    }

    fun start() {
        val program = System.getenv("TOMBOLO_RELAY") ?: error("name a relay in TOMBOLO_RELAY: cargo build -p tombolo-relay")
        val listen = address.removePrefix("ws://")
        val words = listOf(program, "serve", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--log-level", "error")
        val builder = ProcessBuilder(words + listOf("--data", folder.toString()))
        builder.environment().keys.removeIf { it.startsWith("TOMBOLO_RELAY_") }
        process = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start()
        val said = process.inputReader().lineSequence().firstOrNull { it.startsWith("listening on ") }
        address = checkNotNull(said) { "the relay did not say where it listens" }.removePrefix("listening on ").trim()
    }

    fun kill() {
        process.destroyForcibly().waitFor()
    }
}
