//! The commit record of a task: who wrote its output, where it is, and what is in it.
//!
//! ```text
//! magic "SFCR", u8 version 1
//! u32     length of the head: all but the payload
//! attempt 27 bytes query id, then u32 stage, partition, generation, epoch, number
//! u8      where the frames are: 0 in this record, 1 in the data object of the attempt
//! varint  length of the data object; 0 when the frames are here
//! index   see the module `index`
//! u32     CRC32C of all of the above
//! …       the frames, when they are here; each has its own CRC
//! ```

use std::sync::Arc;

use base::{AttemptId, Error};
use bytes::Bytes;

use crate::index::{self, PartitionEntry};
use crate::layout::ObjectKey;
use crate::wire::{Malformed, Reader, Writer};

const MAGIC: [u8; 4] = *b"SFCR";
const VERSION: u8 = 1;

/// Where the head length stands.
const HEAD_LENGTH_OFFSET: usize = 5;

/// No commit record is larger than this many bytes.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;

/// Where the frames of an output are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputLocation {
    /// In the record itself.
    Inline(Bytes),
    /// In the data object of the attempt, whose key is [`ObjectKey::Data`].
    Object {
        /// The size of the object in bytes.
        bytes: u64,
    },
}

/// The committed output of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    attempt: AttemptId,
    location: OutputLocation,
    index: Arc<[PartitionEntry]>,
    head_length: u64,
}

impl CommitRecord {
    pub(crate) fn new(attempt: AttemptId, location: OutputLocation, index: Arc<[PartitionEntry]>) -> Self {
        let mut record = CommitRecord { attempt, location, index, head_length: 0 };
        record.head_length = record.encode_head().len() as u64;
        record
    }

    /// The attempt that wrote the output: the winner of its task.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Where the frames are.
    pub fn location(&self) -> &OutputLocation {
        &self.location
    }

    /// What is in each partition.
    pub fn index(&self) -> &Arc<[PartitionEntry]> {
        &self.index
    }

    /// The rows in all partitions.
    pub fn rows(&self) -> u64 {
        self.index.iter().map(|entry| entry.rows).sum()
    }

    /// The bytes of each partition before compression.
    pub fn partition_bytes(&self) -> Arc<[u64]> {
        self.index.iter().map(|entry| entry.bytes).collect()
    }

    /// A checksum over all rows and the partitions they are in, whatever their order within a partition. Two runs of
    /// a task that wrote the same have the same.
    pub fn checksum(&self) -> u64 {
        let weighed = (0u64..).zip(self.index.iter()).filter(|(_, entry)| entry.rows > 0);
        weighed.fold(0, |sum, (partition, entry)| sum.wrapping_add(entry.weighed_checksum(partition)))
    }

    /// The bytes that the output takes in the store.
    pub fn stored_bytes(&self) -> u64 {
        match &self.location {
            OutputLocation::Inline(frames) => self.head_length + frames.len() as u64,
            OutputLocation::Object { bytes } => self.head_length + bytes,
        }
    }

    /// How many objects the output takes in the store beside the record.
    pub fn object_count(&self) -> u64 {
        match &self.location {
            OutputLocation::Inline(_) => 0,
            OutputLocation::Object { .. } => 1,
        }
    }

    /// The key under which the record is.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::Commit(self.attempt.output())
    }

    /// Where an inline payload starts in the encoded record.
    pub(crate) fn head_length(&self) -> u64 {
        self.head_length
    }

    fn encode_head(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(&MAGIC);
        writer.u8(VERSION);
        writer.u32(0);
        writer.attempt(self.attempt);
        match &self.location {
            OutputLocation::Inline(_) => {
                writer.u8(0);
                writer.varint(0);
            }
            OutputLocation::Object { bytes } => {
                writer.u8(1);
                writer.varint(*bytes);
            }
        }
        index::encode(&self.index, &mut writer);
        let length = writer.0.len() as u32 + 4;
        writer.0[HEAD_LENGTH_OFFSET..HEAD_LENGTH_OFFSET + 4].copy_from_slice(&length.to_le_bytes());
        writer.u32(crc32c::crc32c(&writer.0));
        writer.0
    }

    /// The binary form.
    pub fn encode(&self) -> Bytes {
        let mut content = self.encode_head();
        if let OutputLocation::Inline(frames) = &self.location {
            content.extend_from_slice(frames);
        }
        content.into()
    }

    /// Reads the binary form. The error is that of a lost output: such a record is as good as none.
    pub fn decode(content: &Bytes, output: base::OutputId) -> Result<Self, Error> {
        let record = decode(content).and_then(|record| {
            if record.attempt.output() == output {
                Ok(record)
            } else {
                Err(Malformed("it is of another task"))
            }
        });
        record.map_err(|malformed| {
            let key = ObjectKey::Commit(output);
            Error::lost(output, format!("Exchange commit record {key} is unreadable: {malformed}"))
        })
    }
}

fn decode(content: &Bytes) -> Result<CommitRecord, Malformed> {
    let mut reader = Reader::new(content);
    if reader.array()? != MAGIC {
        return Err(Malformed("it does not start as one"));
    }
    if reader.u8()? != VERSION {
        return Err(Malformed("its version is not known"));
    }
    let head_length = reader.u32()?;
    let head = content.get(..head_length as usize).ok_or(Malformed("it is truncated"))?;
    let (head, crc) = head.split_last_chunk::<4>().ok_or(Malformed("it is truncated"))?;
    if crc32c::crc32c(head) != u32::from_le_bytes(*crc) {
        return Err(Malformed("its checksum does not match"));
    }
    let mut reader = Reader::new(head.get(HEAD_LENGTH_OFFSET + 4..).ok_or(Malformed("it is truncated"))?);
    let attempt = reader.attempt()?;
    let tag = reader.u8()?;
    let object_bytes = reader.varint()?;
    let (index, frames_length) = index::decode(&mut reader)?;
    if reader.remaining() > 0 {
        return Err(Malformed("its head is too long"));
    }
    let payload = content.slice(head_length as usize..);
    let location = match tag {
        0 if payload.len() as u64 == frames_length => OutputLocation::Inline(payload),
        0 => return Err(Malformed("its frames are truncated")),
        1 if payload.is_empty() && frames_length <= object_bytes => {
            OutputLocation::Object { bytes: object_bytes }
        }
        _ => return Err(Malformed("its location is not known")),
    };
    Ok(CommitRecord { attempt, location, index, head_length: u64::from(head_length) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Epoch, FailureClass, StageId, TaskId};

    fn records() -> Vec<CommitRecord> {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(2), partition: 9 };
        let attempt = AttemptId { task, generation: 0, epoch: Epoch(1), number: 4 };
        let entry = PartitionEntry { offset: 0, length: 5, rows: 2, bytes: 300, checksum: 77 };
        let second = PartitionEntry { offset: 5, length: 0, rows: 0, bytes: 0, checksum: 0 };
        vec![
            CommitRecord::new(attempt, OutputLocation::Inline(Bytes::new()), Arc::new([])),
            CommitRecord::new(
                attempt,
                OutputLocation::Inline(Bytes::from_static(b"hello")),
                Arc::new([entry, second]),
            ),
            CommitRecord::new(attempt, OutputLocation::Object { bytes: 70 }, Arc::new([entry])),
        ]
    }

    #[test]
    fn records_round_trip() {
        for record in records() {
            let output = record.attempt().output();
            assert_eq!(CommitRecord::decode(&record.encode(), output).unwrap(), record);
            assert!(record.stored_bytes() >= record.encode().len() as u64);
            assert_eq!(record.object_count() == 1, record.stored_bytes() > record.encode().len() as u64);
            let other = base::OutputId { generation: 1, ..output };
            assert_eq!(CommitRecord::decode(&record.encode(), other).unwrap_err().lost_output(), Some(other));
        }
    }

    #[test]
    fn a_damaged_record_is_a_lost_output() {
        for record in records() {
            let (bytes, output) = (record.encode(), record.attempt().output());
            for at in 0..bytes.len() {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << (at % 8);
                // Damage of inline frames is found when they are read.
                if let Ok(read) = CommitRecord::decode(&flipped.into(), output) {
                    assert!(at as u64 >= record.head_length());
                    assert_eq!(read.index(), record.index());
                }
                let error = CommitRecord::decode(&bytes.slice(..at), output).unwrap_err();
                assert_eq!(base::Failure::of(error).class, FailureClass::InputLost(output));
            }
        }
    }
}
