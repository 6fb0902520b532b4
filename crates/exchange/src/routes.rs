//! Rows of a batch, by the partition that they go to.

/// Rows of a batch, by the partition that they go to, each partition's in their order. Memory is kept from batch to
/// batch.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    rows: Vec<u32>,
    /// Where the rows of each partition end; with one more number, those of the first start at 0.
    ends: Vec<u32>,
}

impl Routes {
    /// Groups rows by partition: given is the partition of each, below `partitions`.
    ///
    /// `None` if one of them is not.
    pub(crate) fn group(&mut self, partition_of_rows: &[u32], partitions: usize) -> Option<()> {
        let starts = &mut self.ends;
        starts.clear();
        starts.resize(partitions + 1, 0);
        for partition in partition_of_rows {
            *starts.get_mut(*partition as usize + 1)? += 1;
        }
        let mut sum = 0;
        for start in starts.iter_mut() {
            sum += *start;
            *start = sum;
        }
        self.rows.resize(partition_of_rows.len(), 0);
        // Placing a row moves the start of its partition on, so that at last each is where the next one starts.
        for (row, partition) in (0u32..).zip(partition_of_rows) {
            let start = &mut starts[*partition as usize];
            self.rows[*start as usize] = row;
            *start += 1;
        }
        Some(())
    }

    /// The rows of a partition.
    pub(crate) fn of(&self, partition: usize) -> &[u32] {
        let start = partition.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.rows[start as usize..self.ends[partition] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_its_partition_and_in_order() {
        let mut routes = Routes::default();
        for rows in [0, 1, 1_000, 10] {
            let partition_of_rows: Vec<u32> = (0..rows).map(|row: u32| row * 7 % 5).collect();
            routes.group(&partition_of_rows, 6).unwrap();
            for partition in 0..6 {
                let expected: Vec<u32> =
                    (0..rows).filter(|row| partition_of_rows[*row as usize] == partition).collect();
                assert_eq!(routes.of(partition as usize), expected);
            }
        }
    }

    #[test]
    fn a_partition_that_is_not_there_is_found() {
        assert!(Routes::default().group(&[0, 3], 3).is_none());
    }
}
