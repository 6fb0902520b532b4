//! Deep plans need a deep stack.

use std::panic::resume_unwind;
use std::thread;

use base::{Error, Result};

/// Stack for work that recurses over a plan, in bytes. A thousand nested expressions use a few megabytes of it; the
/// rest is address space only.
const LARGE_STACK_BYTES: usize = 256 << 20;

/// Runs what recurses over a whole plan on a thread whose stack is large enough for any plan a statement can make.
///
/// It costs the start of a thread, some 50 µs. A panic goes on in the caller. Fails if no thread can be started.
pub fn on_large_stack<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(LARGE_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| Error::internal("no thread could be started").caused_by(error))?;
        handle.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
