package tombolo

/** What is wrong, as a sentence for people, in English. The variant says whose fault it is. */
public val TomboloException.reason: String
    get() = when (this) {
        is TomboloException.Store -> reason
        is TomboloException.Misuse -> reason
        is TomboloException.Document -> reason
        is TomboloException.NotFound -> reason
        is TomboloException.Denied -> reason
        is TomboloException.NotReady -> reason
        is TomboloException.Input -> reason
        is TomboloException.StepUp -> reason
        is TomboloException.UnsentWork -> reason
        is TomboloException.Deadline -> reason
        is TomboloException.Closed -> reason
        is TomboloException.Internal -> reason
    }

/**
 * Hands the library's log to a function from now on, up to a level; `null` turns it off. It is called on one thread, and no
 * line names content.
 *
 * @throws TomboloException.Misuse if the program around this library has taken the log for itself.
 */
public fun logTo(level: LogLevel = LogLevel.INFO, sink: ((LogLine) -> Unit)?) {
    setLogSink(level, sink?.let { take ->
        object : LogSink {
            override fun onLines(lines: List<LogLine>) = lines.forEach(take)
        }
    })
}
