//! How much memory a query may use on all nodes together.
//!
//! A query whose attempts have leases is bounded by those. One whose attempts run at the same time and share what nodes
//! have is ended when they hold more than it may have, as workers tell: for a moment it may hold more.

use base::{DataSize, Error, ErrorCode};
use protocol::client::succinct::succinct_data_size;

use super::execution::Execution;

/// What the attempts of a query may use together on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryMemoryLimits {
    /// `query.max-memory`
    pub user: DataSize,
    /// `query.max-total-memory`. There is no memory yet that is given back on demand, so that the same counts.
    pub total: DataSize,
}

impl QueryMemoryLimits {
    /// Fails if a query holds more.
    pub fn check(&self, reserved: DataSize) -> Result<(), Error> {
        for (kind, limit) in [("user", self.user), ("total", self.total)] {
            if reserved > limit {
                let limit = succinct_data_size(limit);
                let text = format!("Query exceeded distributed {kind} memory limit of {limit}");
                return Err(Error::new(ErrorCode::EXCEEDED_GLOBAL_MEMORY_LIMIT, text));
            }
        }
        Ok(())
    }
}

impl Execution {
    /// Fails if the attempts that run now hold more memory than the query may.
    pub fn check_memory(&self) -> Result<(), Error> {
        let Some(pipeline) = &self.pipeline else {
            return Ok(());
        };
        let running = self.attempts.iter().filter(|(attempt, record)| {
            // Of an earlier try nobody may ever say that it has ended.
            record.is_running && pipeline.region().contains(attempt)
        });
        let reserved =
            running.fold(0, |sum: u64, (_, it)| sum.saturating_add(it.stats.memory_reserved_bytes));
        pipeline.memory_limits().check(DataSize(reserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_limit_is_an_error_that_names_it() {
        let limits = QueryMemoryLimits { user: DataSize::megabytes(10), total: DataSize::megabytes(20) };
        assert_eq!(limits.check(DataSize::megabytes(10)), Ok(()));
        let error = limits.check(DataSize(DataSize::megabytes(10).0 + 1)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::EXCEEDED_GLOBAL_MEMORY_LIMIT);
        assert_eq!(error.message(), "Query exceeded distributed user memory limit of 10MB");
        let limits = QueryMemoryLimits { total: DataSize::megabytes(5), ..limits };
        let error = limits.check(DataSize::megabytes(6)).unwrap_err();
        assert_eq!(error.message(), "Query exceeded distributed total memory limit of 5MB");
    }
}
