//! Why a node stops.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// Why a node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody wants it to end in an orderly way: SIGTERM or SIGINT.
    Terminated,
    /// Who started it has gone: standard input was closed.
    Abandoned,
}

/// Waits until somebody wants the node to stop.
pub async fn stop_requested(with_stdin: bool) -> StopReason {
    tokio::select! {
        () = received(SignalKind::terminate()) => StopReason::Terminated,
        () = received(SignalKind::interrupt()) => StopReason::Terminated,
        () = stdin_closed(with_stdin) => StopReason::Abandoned,
    }
}

async fn received(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "a signal cannot be listened for");
            std::future::pending::<()>().await;
        }
    }
}

async fn stdin_closed(watched: bool) {
    if !watched {
        std::future::pending::<()>().await;
    }
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    // An error means as much as the end.
    while matches!(stdin.read(&mut ignored).await, Ok(count) if count > 0) {}
}
