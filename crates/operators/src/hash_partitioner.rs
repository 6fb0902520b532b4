//! How rows are spread over hash partitions.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;

/// Spreads rows over partitions by the hash of their keys.
///
/// All processes of a query must use the same build: the hash is stable only within one.
pub struct HashPartitioner {
    partitioner: BatchPartitioner,
}

impl HashPartitioner {
    /// A partitioner by these keys. Fails if `partitions` is 0.
    pub fn new(keys: Vec<Arc<dyn PhysicalExpr>>, partitions: u32) -> Result<Self> {
        let partitioner = BatchPartitioner::new_hash_partitioner(keys, partitions as usize, Time::new())?;
        Ok(HashPartitioner { partitioner })
    }

    /// Hands out the rows of a batch by partition. Partitions without rows are left out.
    pub fn partition(
        &mut self,
        batch: RecordBatch,
        mut each: impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        self.partitioner.partition(batch, |partition, rows| {
            let partition = u32::try_from(partition).expect("there are at most u32::MAX partitions");
            each(partition, rows)
        })
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
                    .partition(half, |partition, part| {
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
}
