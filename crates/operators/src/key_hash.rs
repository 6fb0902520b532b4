//! The hash of keys, by which rows are spread over partitions and dynamic filters are made.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;
use datafusion::physical_plan::PhysicalExpr;

/// It must not be the hash of a hash join or an aggregation: of the rows of one partition their tables would then use
/// a part only. It is stable only within one build.
const HASH: RandomState = RandomState::with_seed(0x9e37_79b9_7f4a_7c15);

/// Hashes the keys of every row of a batch.
#[derive(Debug)]
pub(crate) struct KeyHasher {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    hashes: Vec<u64>,
}

impl KeyHasher {
    pub(crate) fn new(keys: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        KeyHasher { keys, hashes: Vec::new() }
    }

    /// The hash of each row.
    pub(crate) fn hash(&mut self, batch: &RecordBatch) -> Result<&[u64]> {
        let rows = batch.num_rows();
        let keys: Result<Vec<ArrayRef>> =
            self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows)).collect();
        self.hashes.clear();
        self.hashes.resize(rows, 0);
        create_hashes(&keys?, &HASH, &mut self.hashes)?;
        Ok(&self.hashes)
    }
}

/// A number below `count` that a hash falls on. It is the upper half of a product, which takes no division and uses
/// the upper bits of the hash.
pub(crate) fn below(hash: u64, count: u64) -> u64 {
    ((u128::from(hash) * u128::from(count)) >> 64) as u64
}
