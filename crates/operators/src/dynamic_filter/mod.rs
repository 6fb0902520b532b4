//! Dynamic filters: the rows of the probe side of a join that no row of the build side can match are dropped where
//! they are read.
//!
//! The build side is spread over hash partitions anyhow. A stage reads those once more and sums up their keys
//! ([`DynamicFilterSourceExec`]): a row for each of its tasks, with the partitions that have keys and a Bloom filter of
//! these. The tasks that read the probe side get all of these rows and look up every key in them
//! ([`DynamicFilterExec`]). What they drop is not sent to the join.
//!
//! Both depend on nothing but the rows they read, in whatever order, so a second run of a task gives the same again.

mod bloom;
mod exec;
mod source;
mod summary;

pub use exec::DynamicFilterExec;
pub use source::DynamicFilterSourceExec;
