//! How rows are spread over hash partitions.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::PhysicalExpr;

use crate::key_hash::{KeyHasher, below};

/// Spreads rows over partitions by the hash of their keys.
///
/// All processes of a query must use the same build: the hash is stable only within one.
pub struct HashPartitioner {
    hasher: KeyHasher,
    partitions: u32,
    partition_of_rows: Vec<u32>,
}

impl HashPartitioner {
    /// A partitioner by these keys. Fails if `partitions` is 0.
    pub fn new(keys: Vec<Arc<dyn PhysicalExpr>>, partitions: u32) -> Result<Self> {
        if partitions == 0 {
            return Err(DataFusionError::Internal("rows cannot be spread over no partitions".into()));
        }
        Ok(HashPartitioner { hasher: KeyHasher::new(keys), partitions, partition_of_rows: Vec::new() })
    }

    /// The partition of each row of a batch.
    pub fn partition_of_rows(&mut self, batch: &RecordBatch) -> Result<&[u32]> {
        let hashes = self.hasher.hash(batch)?;
        self.partition_of_rows.clear();
        self.partition_of_rows.extend(hashes.iter().map(|hash| partition_of(*hash, self.partitions)));
        Ok(&self.partition_of_rows)
    }

    /// Hands out the rows of a batch by partition. Partitions without rows are left out.
    pub fn partition(
        &mut self,
        batch: &RecordBatch,
        mut each: impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut rows = vec![Vec::new(); self.partitions as usize];
        for (row, partition) in (0u32..).zip(self.partition_of_rows(batch)?) {
            rows[*partition as usize].push(row);
        }
        for (partition, rows) in (0u32..).zip(rows).filter(|(_, rows)| !rows.is_empty()) {
            each(partition, take_record_batch(batch, &UInt32Array::from(rows))?)?;
        }
        Ok(())
    }
}

/// The partition of rows whose keys have this hash.
pub(crate) fn partition_of(hash: u64, partitions: u32) -> u32 {
    below(hash, u64::from(partitions)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::Column;
    use std::collections::HashMap;

    #[test]
    fn equal_keys_meet_in_one_partition_and_no_row_is_lost() {
        let schema = Schema::new(vec![
            Field::new("key", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
        ]);
        let keys: Int64Array = (0..1000).map(|n| if n % 10 == 0 { None } else { Some(n % 37) }).collect();
        let texts: StringArray = (0..1000).map(|n| Some(format!("row {n}"))).collect();
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(texts)]).unwrap();
        for partitions in [1, 4, 7] {
            let mut partitioner =
                HashPartitioner::new(vec![Arc::new(Column::new("key", 0))], partitions).unwrap();
            let mut home: HashMap<Option<i64>, u32> = HashMap::new();
            let mut rows = 0;
            // Two halves: the second must agree with the first.
            for half in [batch.slice(0, 500), batch.slice(500, 500)] {
                partitioner
                    .partition(&half, |partition, part| {
                        assert!(partition < partitions);
                        let keys = part.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                        for at in 0..keys.len() {
                            let key = keys.is_valid(at).then(|| keys.value(at));
                            assert_eq!(*home.entry(key).or_insert(partition), partition);
                        }
                        rows += part.num_rows();
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(rows, 1000);
        }
    }

    #[test]
    fn rows_are_spread_evenly() {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..100_000).map(|n| n * 8)));
        let batch = RecordBatch::try_from_iter([("key", keys)]).unwrap();
        let mut partitioner = HashPartitioner::new(vec![Arc::new(Column::new("key", 0))], 50).unwrap();
        let mut counts = vec![0; 50];
        for partition in partitioner.partition_of_rows(&batch).unwrap() {
            counts[*partition as usize] += 1;
        }
        assert!(counts.iter().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
    }
}
