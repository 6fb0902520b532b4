//! The scenarios, in the order in which they are played.

mod coordinators;
mod disk_full;
mod fd_exhaustion;
mod kill_all_workers;
mod kill_coordinator;
mod kill_worker;
mod links;
mod lost_output;
mod partition_worker;
mod rolling_restart;
mod slow_worker;
mod standby_takeover;
mod stop_worker;
mod two_coordinators;
mod victims;

use std::pin::Pin;

use steadfast::Failure;

use crate::report::Report;
use crate::scene::Context;

/// A scenario that plays.
type Playing = Pin<Box<dyn Future<Output = Result<Report, Failure>>>>;

/// A scenario.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What happens in it.
    pub summary: &'static str,
    /// Plays it.
    pub play: fn(Context) -> Playing,
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    kill_worker::SCENARIO,
    kill_all_workers::SCENARIO,
    stop_worker::SCENARIO,
    slow_worker::SCENARIO,
    partition_worker::SCENARIO,
    links::SCENARIO,
    lost_output::SCENARIO,
    disk_full::SCENARIO,
    rolling_restart::SCENARIO,
    fd_exhaustion::SCENARIO,
    kill_coordinator::SCENARIO,
    standby_takeover::SCENARIO,
    two_coordinators::SCENARIO,
];
