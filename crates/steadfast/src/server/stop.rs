//! Why a node stops.

use tokio::io::{AsyncReadExt, Stdin};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody wants it to end in an orderly way: SIGTERM.
    Terminated,
    /// Somebody wants it to end at once: SIGINT.
    Interrupted,
    /// Who started it has gone: standard input was closed.
    Abandoned,
}

/// What may tell a node to stop. Nothing that comes while nobody waits is lost.
#[derive(Debug)]
pub struct StopRequests {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    stdin: Option<Stdin>,
}

impl StopRequests {
    /// From now on signals do not end the process by themselves. With `with_stdin`, the end of standard input is told
    /// too.
    pub fn listen(with_stdin: bool) -> Self {
        StopRequests {
            terminate: listen_for(SignalKind::terminate()),
            interrupt: listen_for(SignalKind::interrupt()),
            stdin: with_stdin.then(tokio::io::stdin),
        }
    }

    /// Waits for the next reason to stop. May be given up and called again.
    pub async fn next(&mut self) -> StopReason {
        let StopRequests { terminate, interrupt, stdin } = self;
        tokio::select! {
            () = received(terminate) => StopReason::Terminated,
            () = received(interrupt) => StopReason::Interrupted,
            () = closed(stdin) => StopReason::Abandoned,
        }
    }
}

fn listen_for(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::warn!(%error, "a signal cannot be listened for")).ok()
}

async fn received(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => {
            signals.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn closed(stdin: &mut Option<Stdin>) {
    let Some(input) = stdin else {
        return std::future::pending().await;
    };
    let mut ignored = [0; 64];
    // An error means as much as the end.
    while matches!(input.read(&mut ignored).await, Ok(count) if count > 0) {}
    *stdin = None;
}
