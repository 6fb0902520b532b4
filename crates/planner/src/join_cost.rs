//! What the ways to run a join cost, in nanoseconds of a processor. Rough figures, measured on TPC-H; only what is
//! much less is better.

use crate::estimate::Estimate;

/// How many tasks read a build side that is sent to all.
const BROADCAST_TASKS: f64 = 4.0;
/// Putting a row into a hash table.
const BUILD_ROW: f64 = 50.0;
/// Looking up a row.
const PROBE_ROW: f64 = 15.0;
/// Reading a row from an exchange, and each of its bytes.
const READ_ROW: f64 = 5.0;
const READ_BYTE: f64 = 0.2;
/// Writing a row to an exchange that spreads rows by hash, and each of its bytes.
const SPREAD_ROW: f64 = 30.0;
const SPREAD_BYTE: f64 = 0.4;
/// Summing up a key for a dynamic filter.
const SUM_UP_ROW: f64 = 10.0;
/// Looking up a row in a dynamic filter.
const FILTER_ROW: f64 = 5.0;
/// Running one more stage, before any row.
const STAGE: f64 = 3e6;

/// A side of a join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) rows: f64,
    pub(crate) bytes: f64,
}

impl Side {
    pub(crate) fn of(rows: &Estimate) -> Self {
        Side { rows: rows.rows, bytes: rows.bytes() }
    }

    /// This part of it.
    fn part(self, fraction: f64) -> Self {
        Side { rows: self.rows * fraction, bytes: self.bytes * fraction }
    }

    fn read(self) -> f64 {
        self.rows * READ_ROW + self.bytes * READ_BYTE
    }

    fn exchanged(self) -> f64 {
        self.rows * SPREAD_ROW + self.bytes * SPREAD_BYTE + self.read()
    }
}

/// The build side is sent to every task that has a part of the probe side.
pub(crate) fn broadcast(build: Side, probe: Side) -> f64 {
    STAGE + BROADCAST_TASKS * (build.read() + build.rows * BUILD_ROW) + probe.rows * PROBE_ROW
}

/// Both sides are spread by their keys.
pub(crate) fn partitioned(build: Side, probe: Side) -> f64 {
    3.0 * STAGE + build.exchanged() + build.rows * BUILD_ROW + probe.exchanged() + probe.rows * PROBE_ROW
}

/// The same, with a dynamic filter that keeps this part of the probe side.
pub(crate) fn filtered(build: Side, probe: Side, kept: f64) -> f64 {
    let filter = STAGE + build.read() + build.rows * SUM_UP_ROW + probe.rows * FILTER_ROW;
    filter + partitioned(build, probe.part(kept))
}
