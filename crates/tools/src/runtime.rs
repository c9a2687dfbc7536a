//! The runtime that a command's future runs on; it ends with the command.

use std::pin::Pin;

use tokio::runtime::Builder;

/// Runs a future on the runtime that `builder` makes; `failed` makes an error of the sentence why there is none.
///
/// # Errors
/// What the future gives, or the runtime can't be made.
pub fn run<T, E>(
    mut builder: Builder,
    failed: impl FnOnce(String) -> E,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let runtime = builder.enable_all().build().map_err(|e| failed(format!("can't start: {e}")))?;
    // Boxed, so that the runtime's loop is not compiled once for each command.
    let future: Pin<Box<dyn Future<Output = Result<T, E>>>> = Box::pin(future);
    let result = runtime.block_on(future);
    // Sockets close with the process; nothing that still runs is waited for.
    runtime.shutdown_background();
    result
}

/// The same on one thread: starting more costs a command more than it can gain.
///
/// # Errors
/// As [`run`].
pub fn block_on<T, E>(failed: impl FnOnce(String) -> E, future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    run(Builder::new_current_thread(), failed, future)
}
