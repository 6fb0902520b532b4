//! What of a query is on record, and how its client is answered first.
//!
//! A query runs without records at first. Nothing may be promised to its client before everything is on record that
//! another coordinator needs to go on with it; a short query is answered without any promise.

use std::sync::Arc;

use base::Result;

use crate::state::PlanRecord;

/// What of a query is on record.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// Nothing, and the scheduler does not know it.
    Nothing,
    /// Nothing, and the scheduler runs this.
    NothingOf(Arc<PlanRecord>),
    /// Nothing, and it has ended like this without the scheduler.
    OutcomeNeither(Result<()>),
    /// Everything that another coordinator needs to go on with it; or at least that was begun to be recorded, so that
    /// its outcome is to be recorded too.
    Everything,
}

/// How the client of a query is answered first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstAnswer {
    /// The query has ended, and its result is one page, which is kept. Nothing is recorded. Its address carries the
    /// capsule.
    Short {
        /// The statement, sealed.
        capsule: String,
    },
    /// Whatever happens to this coordinator, another one goes on with the query; or none does, because the retry policy
    /// of the query promises nothing.
    Recorded,
}
