//! Splits: ranges of bytes of a file that hold whole row groups.

use base::{Error, Result};
use bytes::Bytes;
use chrono::DateTime;
use connector::Split;
use object_store::ObjectMeta;
use object_store::path::Path as StorePath;
use parquet::file::metadata::RowGroupMetaData;
use serde::{Deserialize, Serialize};

/// A range of a file. The row groups that start in it are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSplit {
    /// The file, as object stores name it.
    path: String,
    /// The size of the file in bytes.
    size: u64,
    /// When the file was last written, in milliseconds since 1970.
    modified_millis: i64,
    /// The first byte.
    pub(crate) start: u64,
    /// The byte after the last.
    pub(crate) end: u64,
}

impl FileSplit {
    /// All of a file.
    pub(crate) fn whole(file: &ObjectMeta) -> Self {
        FileSplit {
            path: file.location.to_string(),
            size: file.size,
            modified_millis: file.last_modified.timestamp_millis(),
            start: 0,
            end: file.size,
        }
    }

    /// The split with how many of its bytes are to be read.
    pub(crate) fn encode(&self, size_bytes: u64) -> Result<Split> {
        let payload = serde_json::to_vec(self)
            .map_err(|cause| Error::internal("a split cannot be written").caused_by(cause))?;
        Ok(Split { payload: Bytes::from(payload), size_bytes })
    }

    /// What the bytes of a split say.
    pub(crate) fn decode(split: &Split) -> Result<Self> {
        serde_json::from_slice(&split.payload)
            .map_err(|cause| Error::internal("not a split of the hive connector").caused_by(cause))
    }

    /// The file.
    pub(crate) fn file(&self) -> Result<ObjectMeta> {
        let invalid = |cause: String| Error::internal("not a split of the hive connector").caused_by(cause);
        let location = StorePath::parse(&self.path).map_err(|cause| invalid(cause.to_string()))?;
        let last_modified = DateTime::from_timestamp_millis(self.modified_millis)
            .ok_or_else(|| invalid("its time is out of range".to_string()))?;
        Ok(ObjectMeta { location, last_modified, size: self.size, e_tag: None, version: None })
    }

    /// The local path and the range, for people.
    pub(crate) fn describe(&self) -> String {
        format!("/{} (offset={}, length={})", self.path, self.start, self.end.saturating_sub(self.start))
    }
}

/// Divides a file into splits of whole row groups that are wanted, each of at least `target_bytes` but the last.
pub(crate) fn of_row_groups(
    file: &ObjectMeta,
    row_groups: &[RowGroupMetaData],
    wanted: &[bool],
    target_bytes: u64,
) -> Result<Vec<Split>> {
    let groups: Vec<RowGroup> = row_groups.iter().map(RowGroup::of).collect();
    divide(file.size, &groups, wanted, target_bytes)
        .into_iter()
        .map(|part| {
            let split = FileSplit { start: part.start, end: part.end, ..FileSplit::whole(file) };
            split.encode(part.bytes)
        })
        .collect()
}

/// Where a row group starts, and the bytes to read of it.
#[derive(Clone, Copy, Debug)]
struct RowGroup {
    start: u64,
    bytes: u64,
}

impl RowGroup {
    /// The reader takes a row group to start where its first column does.
    fn of(metadata: &RowGroupMetaData) -> Self {
        let start = metadata
            .columns()
            .first()
            .map_or(0, |column| column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()));
        let unsigned = |value: i64| u64::try_from(value).unwrap_or_default();
        RowGroup { start: unsigned(start), bytes: unsigned(metadata.compressed_size()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: u64,
    end: u64,
    bytes: u64,
}

fn divide(file_size: u64, groups: &[RowGroup], wanted: &[bool], target_bytes: u64) -> Vec<Part> {
    let is_wanted = |at: usize| wanted.get(at).copied().unwrap_or(true);
    let all_bytes =
        groups.iter().enumerate().filter(|(at, _)| is_wanted(*at)).map(|(_, group)| group.bytes).sum();
    let ordered = groups.windows(2).all(|pair| pair[0].start < pair[1].start)
        && groups.last().is_none_or(|last| last.start < file_size);
    if !ordered {
        // Ranges cannot tell these row groups apart.
        let any = (0..groups.len()).any(is_wanted);
        return if any { vec![Part { start: 0, end: file_size, bytes: all_bytes }] } else { Vec::new() };
    }
    let mut parts = Vec::new();
    let mut open: Option<Part> = None;
    for (at, group) in groups.iter().enumerate().filter(|(at, _)| is_wanted(*at)) {
        let end = groups.get(at + 1).map_or(file_size, |next| next.start);
        let part = open.get_or_insert(Part { start: group.start, end, bytes: 0 });
        part.end = end;
        part.bytes += group.bytes;
        if part.bytes >= target_bytes {
            parts.extend(open.take());
        }
    }
    parts.extend(open);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(bytes: &[u64]) -> (u64, Vec<RowGroup>) {
        let mut start = 4;
        let mut groups = Vec::new();
        for bytes in bytes {
            groups.push(RowGroup { start, bytes: *bytes });
            start += bytes;
        }
        (start + 100, groups)
    }

    fn parts(bytes: &[u64], wanted: &[bool], target: u64) -> Vec<(u64, u64, u64)> {
        let (size, groups) = groups(bytes);
        divide(size, &groups, wanted, target).iter().map(|part| (part.start, part.end, part.bytes)).collect()
    }

    #[test]
    fn row_groups_are_joined_up_to_the_target() {
        assert_eq!(parts(&[10, 10, 10], &[true; 3], 20), [(4, 24, 20), (24, 134, 10)]);
        assert_eq!(parts(&[10, 10, 10], &[true; 3], 1), [(4, 14, 10), (14, 24, 10), (24, 134, 10)]);
        assert_eq!(parts(&[10, 10, 10], &[true; 3], 1_000), [(4, 134, 30)]);
        assert_eq!(parts(&[], &[], 10), []);
    }

    #[test]
    fn unwanted_row_groups_cost_nothing() {
        assert_eq!(parts(&[10, 10, 10, 10], &[false, true, false, true], 10), [(14, 24, 10), (34, 144, 10)]);
        assert_eq!(parts(&[10, 10, 10], &[true, false, true], 20), [(4, 134, 20)]);
        assert_eq!(parts(&[10, 10], &[false, false], 10), []);
    }

    #[test]
    fn row_groups_out_of_order_stay_together() {
        let groups = [RowGroup { start: 50, bytes: 10 }, RowGroup { start: 4, bytes: 10 }];
        let all = Part { start: 0, end: 100, bytes: 20 };
        assert_eq!(divide(100, &groups, &[true, true], 1), [all]);
        assert_eq!(divide(100, &groups, &[false, false], 1), []);
    }

    #[test]
    fn every_row_group_starts_in_exactly_one_part() {
        let bytes: Vec<u64> = (1..40).map(|at| at * 7 % 23 + 1).collect();
        let (size, row_groups) = groups(&bytes);
        for target in [1, 5, 17, 40, 10_000] {
            let parts = divide(size, &row_groups, &vec![true; row_groups.len()], target);
            for group in &row_groups {
                let holders = parts.iter().filter(|part| (part.start..part.end).contains(&group.start));
                assert_eq!(holders.count(), 1);
            }
        }
    }

    #[test]
    fn splits_round_trip() {
        let file = ObjectMeta {
            location: StorePath::from("data/a b%.parquet"),
            last_modified: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
            size: 1_000,
            e_tag: None,
            version: None,
        };
        let split = FileSplit::whole(&file);
        let decoded = FileSplit::decode(&split.encode(7).unwrap()).unwrap();
        assert_eq!(decoded, split);
        assert_eq!(decoded.file().unwrap(), file);
        assert!(FileSplit::decode(&Split { payload: Bytes::from_static(b"{}"), size_bytes: 0 }).is_err());
    }
}
