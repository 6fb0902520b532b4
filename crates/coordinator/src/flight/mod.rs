//! The flight recorder: what the scheduler was told before a query failed, to be told again under a debugger.
//!
//! The core is pure, so its state at some time and the facts since then are all that it takes to see every decision
//! once more. The last facts are kept in memory, within bounds; when a query fails, and not for its own statement,
//! they are written down.

mod recorder;
mod recording;

pub use recorder::FlightRecorder;
pub use recording::{Recording, RecordingError};
