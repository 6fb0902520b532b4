//! What must be true of a lifetime, whatever happened in it.

mod answers;
mod causes;
mod ledger;
mod progress;
mod slowness;

pub use ledger::Ledger;
pub use progress::{INSPECT_EVERY, Watch};
