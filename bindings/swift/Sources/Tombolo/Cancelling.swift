import TomboloFFI

/// Makes a call that ends at once when its task is cancelled; a task's cancellation does not reach the library by itself.
func cancellable<R>(_ call: (Cancellation) async throws -> R) async throws -> R {
    let cancellation = Cancellation()
    return try await withTaskCancellationHandler {
        do {
            return try await call(cancellation)
        } catch TomboloError.Deadline where Task.isCancelled {
            throw CancellationError()
        }
    } onCancel: {
        cancellation.cancel()
    }
}
