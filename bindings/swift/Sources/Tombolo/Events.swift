import Foundation
import TomboloFFI

/// Events that wait for who iterates.
private let waitingMax = 4096

/// What a listener heard and nobody has taken yet. The listeners' thread never waits for it.
///
/// Beyond what may wait it hears no more; what waited is delivered, and then its owner begins again.
final class EventQueue<Event: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var waiting: [Event] = []
    private var behind = false
    private var ended = false
    private var waker: CheckedContinuation<Void, Never>?

    func onEvents(events: [Event]) {
        wake {
            if waiting.count + events.count > waitingMax { behind = true }
            if !behind { waiting += events }
        }
    }

    func onEnd() { wake { ended = true } }

    /// What has come, as soon as something has; nothing at the end, or where it has to begin again.
    func next() async -> [Event] {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = locked { () -> Bool in
                    if !waiting.isEmpty || behind || ended { return true }
                    waker = continuation
                    return false
                }
                if ready { continuation.resume() }
            }
        } onCancel: {
            onEnd()
        }
        return locked {
            defer { waiting = [] }
            return waiting
        }
    }

    /// Whether there may be more behind what was missed.
    var mustBeginAgain: Bool { locked { behind && !ended } }

    private func wake(_ change: () -> Void) {
        let continuation = locked { () -> CheckedContinuation<Void, Never>? in
            change()
            defer { waker = nil }
            return waker
        }
        continuation?.resume()
    }

    private func locked<R>(_ work: () -> R) -> R {
        lock.lock()
        defer { lock.unlock() }
        return work()
    }
}

extension EventQueue: DocumentListener where Event == DocumentEvent {}
extension EventQueue: ReplicaListener where Event == ReplicaEvent {}

/// A stream that subscribes when it is made, and ends the subscription when nobody iterates any more.
///
/// It is pulled: an event is taken from the queue when it is asked for, so that the queue's bound is the only one.
func eventStream<Event: Sendable>(
    _ subscribe: @escaping @Sendable (EventQueue<Event>) async throws -> Subscription
) -> AsyncThrowingStream<Event, any Error> {
    let source = EventSource(subscribe)
    return AsyncThrowingStream { try await source.next() }
}

/// The subscription behind a stream; it ends with the stream.
private actor EventSource<Event: Sendable> {
    private let subscribe: @Sendable (EventQueue<Event>) async throws -> Subscription
    private var current: (queue: EventQueue<Event>, subscription: Subscription)?
    private var batch: ArraySlice<Event> = []

    init(_ subscribe: @escaping @Sendable (EventQueue<Event>) async throws -> Subscription) { self.subscribe = subscribe }

    func next() async throws -> Event? {
        while true {
            if let event = batch.popFirst() { return event }
            if Task.isCancelled {
                current?.subscription.cancel()
                return nil
            }
            if let current {
                batch = ArraySlice(await current.queue.next())
                if !batch.isEmpty { continue }
                current.subscription.cancel()
                if !current.queue.mustBeginAgain { return nil }
            }
            let queue = EventQueue<Event>()
            current = (queue, try await subscribe(queue))
        }
    }

    deinit { current?.subscription.cancel() }
}
