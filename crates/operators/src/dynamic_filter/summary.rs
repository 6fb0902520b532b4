//! What the keys of a build side come to.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};

use super::bloom::Bloom;
use crate::hash_partitioner::partition_of;

/// The columns of a summary, of which each task gives one row: the numbers of the partitions that have keys, four bytes
/// each, and a Bloom filter of all keys. Both are NULL if there were too many keys.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name| Field::new(name, DataType::Binary, true);
    Arc::new(Schema::new(vec![field("partitions"), field("keys")]))
});

/// The columns of a summary.
pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The row that sums up keys, given their hashes.
pub(super) fn summary(hashes: &[u64], partitions: u32) -> Result<RecordBatch> {
    let mut has_keys = vec![false; partitions as usize];
    hashes.iter().for_each(|hash| has_keys[partition_of(*hash, partitions) as usize] = true);
    let numbers = (0..partitions).filter(|partition| has_keys[*partition as usize]);
    row(Some((numbers.flat_map(u32::to_le_bytes).collect(), Bloom::of(hashes).to_bytes())))
}

/// The row that says that there are too many keys to sum up.
pub(super) fn without_summary() -> Result<RecordBatch> {
    row(None)
}

fn row(values: Option<(Vec<u8>, Vec<u8>)>) -> Result<RecordBatch> {
    let (partitions, keys) = values.unzip();
    let column = |value: Option<Vec<u8>>| Arc::new(BinaryArray::from_iter([value])) as ArrayRef;
    Ok(RecordBatch::try_new(schema(), vec![column(partitions), column(keys)])?)
}

/// The summaries of all tasks that read a build side.
#[derive(Debug)]
pub(super) struct Summaries {
    partitions: u32,
    blooms: Vec<Bloom>,
    /// Of each partition, the summaries that have keys of it: one, unless tasks share partitions.
    of_partitions: Vec<Vec<usize>>,
    /// Some keys were not summed up, so every key may be there.
    is_incomplete: bool,
}

impl Summaries {
    pub(super) fn new(partitions: u32) -> Self {
        let of_partitions = vec![Vec::new(); partitions as usize];
        Summaries { partitions, blooms: Vec::new(), of_partitions, is_incomplete: false }
    }

    /// Adds what tasks have summed up.
    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let (partitions, keys) = (rows.column(0).as_binary::<i32>(), rows.column(1).as_binary::<i32>());
        for (partitions, keys) in partitions.iter().zip(keys) {
            let (Some(partitions), Some(keys)) = (partitions, keys) else {
                self.is_incomplete = true;
                continue;
            };
            let (numbers, rest) = partitions.as_chunks();
            for number in numbers {
                let of_partition = self.of_partitions.get_mut(u32::from_le_bytes(*number) as usize);
                of_partition.ok_or_else(|| malformed("a partition"))?.push(self.blooms.len());
            }
            if !rest.is_empty() {
                return Err(malformed("its partitions"));
            }
            self.blooms.push(Bloom::from_bytes(keys).ok_or_else(|| malformed("its keys"))?);
        }
        Ok(())
    }

    /// Whether every key may be there.
    pub(super) fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Whether there may be a key of that hash.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let summaries = &self.of_partitions[partition_of(hash, self.partitions) as usize];
        summaries.iter().any(|summary| self.blooms[*summary].may_contain(hash))
    }
}

fn malformed(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("a dynamic filter is malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(range: std::ops::Range<u64>) -> Vec<u64> {
        range.map(|n| n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    }

    #[test]
    fn keys_are_found_whichever_task_had_them() {
        let mut summaries = Summaries::new(8);
        // Also where two tasks have keys of the same partition, and one has none.
        for part in [0..100, 100..300, 0..0] {
            summaries.add(&summary(&hashes(part), 8).unwrap()).unwrap();
        }
        assert!(hashes(0..300).into_iter().all(|hash| summaries.may_contain(hash)));
        let others = hashes(1_000..2_000).into_iter().filter(|hash| summaries.may_contain(*hash)).count();
        assert!(others < 50 && !summaries.is_incomplete(), "{others}");
    }

    #[test]
    fn partitions_without_keys_have_no_rows_that_match() {
        let mut summaries = Summaries::new(4);
        summaries.add(&summary(&[1 << 62], 4).unwrap()).unwrap();
        assert!(summaries.may_contain(1 << 62));
        assert!(!summaries.may_contain(1) && !summaries.may_contain(u64::MAX));
    }

    #[test]
    fn keys_that_were_not_summed_up_are_remembered() {
        let mut summaries = Summaries::new(4);
        summaries.add(&summary(&hashes(0..10), 4).unwrap()).unwrap();
        summaries.add(&without_summary().unwrap()).unwrap();
        assert!(summaries.is_incomplete());
    }

    #[test]
    fn a_summary_of_another_number_of_partitions_is_refused() {
        assert!(Summaries::new(2).add(&summary(&hashes(0..100), 4).unwrap()).is_err());
        let odd = row(Some((vec![0; 3], vec![0; 8]))).unwrap();
        assert!(Summaries::new(2).add(&odd).is_err());
    }
}
