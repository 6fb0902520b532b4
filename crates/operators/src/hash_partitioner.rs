//! How rows are spread over hash partitions.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::PhysicalExpr;

/// The hash by which rows are spread. It must not be that of a hash join or an aggregation: of the rows of one
/// partition their tables would then use a part only.
const HASH: RandomState = RandomState::with_seed(0x9e37_79b9_7f4a_7c15);

/// Spreads rows over partitions by the hash of their keys.
///
/// All processes of a query must use the same build: the hash is stable only within one.
pub struct HashPartitioner {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    partitions: u32,
    hashes: Vec<u64>,
    partition_of_rows: Vec<u32>,
}

impl HashPartitioner {
    /// A partitioner by these keys. Fails if `partitions` is 0.
    pub fn new(keys: Vec<Arc<dyn PhysicalExpr>>, partitions: u32) -> Result<Self> {
        if partitions == 0 {
            return Err(DataFusionError::Internal("rows cannot be spread over no partitions".into()));
        }
        Ok(HashPartitioner { keys, partitions, hashes: Vec::new(), partition_of_rows: Vec::new() })
    }

    /// The partition of each row of a batch.
    pub fn partition_of_rows(&mut self, batch: &RecordBatch) -> Result<&[u32]> {
        let rows = batch.num_rows();
        let keys: Result<Vec<ArrayRef>> =
            self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows)).collect();
        self.hashes.clear();
        self.hashes.resize(rows, 0);
        create_hashes(&keys?, &HASH, &mut self.hashes)?;
        // The upper half of the product is below the number of partitions, and takes no division.
        let partitions = u128::from(self.partitions);
        let partition = |hash: &u64| ((u128::from(*hash) * partitions) >> 64) as u32;
        self.partition_of_rows.clear();
        self.partition_of_rows.extend(self.hashes.iter().map(partition));
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, Int64Array, StringArray};
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
