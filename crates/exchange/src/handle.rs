//! What a consumer needs to know to read some partitions of a producer's output.

use std::ops::Range;

use base::{AttemptId, Error, OutputId};
use bytes::Bytes;

use crate::layout::ObjectKey;
use crate::record::{CommitRecord, OutputLocation};
use crate::wire::{Malformed, Reader, Writer};

/// Inline frames of at most this many bytes travel in the handle, so that reading them takes no request.
pub const EMBEDDED_BYTES_MAX: u64 = 4 << 10;

const VERSION: u8 = 1;

/// The frames of a range of partitions of one committed output. Small, and made to be sent to workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHandle {
    attempt: AttemptId,
    partitions: Range<u32>,
    place: Place,
    length: u64,
    rows: u64,
    bytes: u64,
}

/// Where the frames are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Here.
    Embedded(Bytes),
    /// In the commit record, from that offset.
    Record { offset: u64 },
    /// In the data object, from that offset.
    Object { offset: u64 },
}

/// How far a handle has been read: whole frames only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadPosition {
    /// The bytes of frames.
    pub bytes: u64,
    /// The rows in them.
    pub rows: u64,
}

impl SourceHandle {
    /// The handle of a range of partitions, or `None` if there are no rows in it.
    pub fn of(record: &CommitRecord, partitions: Range<u32>) -> Option<SourceHandle> {
        SourceHandle::with_embedded(record, partitions, EMBEDDED_BYTES_MAX)
    }

    /// The same, with the frames in it however many they are, if the record carries them: for a record that is not in
    /// the store.
    pub fn embedded(record: &CommitRecord, partitions: Range<u32>) -> Option<SourceHandle> {
        SourceHandle::with_embedded(record, partitions, u64::MAX)
    }

    pub(crate) fn with_embedded(
        record: &CommitRecord,
        partitions: Range<u32>,
        embedded_bytes_max: u64,
    ) -> Option<SourceHandle> {
        let end = partitions.end.min(record.index().len() as u32);
        let entries = record.index().get(partitions.start as usize..end as usize)?;
        let (first, last) = (entries.first()?, entries.last()?);
        let rows = entries.iter().map(|entry| entry.rows).sum();
        if rows == 0 {
            return None;
        }
        let (start, end_offset) = (first.offset, last.offset + last.length);
        let place = match record.location() {
            OutputLocation::Inline(frames) if end_offset - start <= embedded_bytes_max => {
                // A copy, so that a small handle does not keep a whole record in memory.
                let range = usize::try_from(start).ok()?..usize::try_from(end_offset).ok()?;
                Place::Embedded(Bytes::copy_from_slice(frames.get(range)?))
            }
            OutputLocation::Inline(_) => Place::Record { offset: record.head_length() + start },
            OutputLocation::Object { .. } => Place::Object { offset: start },
        };
        Some(SourceHandle {
            attempt: record.attempt(),
            partitions: partitions.start..end,
            place,
            length: end_offset - start,
            rows,
            bytes: entries.iter().map(|entry| entry.bytes).sum(),
        })
    }

    /// The output that is read.
    pub fn output(&self) -> OutputId {
        self.attempt.output()
    }

    /// The attempt that wrote it.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// The partitions.
    pub fn partitions(&self) -> Range<u32> {
        self.partitions.clone()
    }

    /// The rows in them.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The bytes of their values before compression.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of their frames as stored.
    pub fn stored_bytes(&self) -> u64 {
        self.length
    }

    /// What is left after a position that [`crate::BatchReader::position`] told; `None` if that is nothing.
    pub fn after(&self, position: ReadPosition) -> Option<SourceHandle> {
        let mut rest = self.clone();
        rest.length = self.length.checked_sub(position.bytes)?;
        rest.rows = self.rows.checked_sub(position.rows)?;
        match &mut rest.place {
            Place::Embedded(frames) => *frames = frames.slice(usize::try_from(position.bytes).ok()?..),
            Place::Record { offset } | Place::Object { offset } => *offset += position.bytes,
        }
        (rest.rows > 0).then_some(rest)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The key of the object that holds the frames.
    pub(crate) fn key(&self) -> ObjectKey {
        match self.place {
            Place::Object { .. } => ObjectKey::Data(self.attempt),
            Place::Embedded(_) | Place::Record { .. } => ObjectKey::Commit(self.attempt.output()),
        }
    }

    /// The binary form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.attempt(self.attempt);
        writer.varint(u64::from(self.partitions.start));
        writer.varint(u64::from(self.partitions.end));
        for value in [self.length, self.rows, self.bytes] {
            writer.varint(value);
        }
        match &self.place {
            Place::Embedded(frames) => {
                writer.u8(0);
                writer.bytes(frames);
            }
            Place::Record { offset } => {
                writer.u8(1);
                writer.varint(*offset);
            }
            Place::Object { offset } => {
                writer.u8(2);
                writer.varint(*offset);
            }
        }
        writer.0
    }

    /// Reads the binary form. An error means that the sender speaks another version than we do.
    pub fn decode(bytes: &[u8]) -> Result<SourceHandle, Error> {
        decode(bytes).map_err(|malformed| {
            Error::internal(format!("Exchange source handle is unreadable: {malformed}"))
        })
    }
}

fn decode(bytes: &[u8]) -> Result<SourceHandle, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION {
        return Err(Malformed("its version is not known"));
    }
    let attempt = reader.attempt()?;
    let partition =
        |value: u64| u32::try_from(value).map_err(|_| Malformed("its partitions are not numbers"));
    let partitions = partition(reader.varint()?)?..partition(reader.varint()?)?;
    let (length, rows, bytes) = (reader.varint()?, reader.varint()?, reader.varint()?);
    let place = match reader.u8()? {
        0 => {
            if reader.remaining() as u64 != length {
                return Err(Malformed("its frames are truncated"));
            }
            Place::Embedded(Bytes::copy_from_slice(reader.bytes(reader.remaining())?))
        }
        1 => Place::Record { offset: reader.varint()? },
        2 => Place::Object { offset: reader.varint()? },
        _ => return Err(Malformed("its place is not known")),
    };
    let end = match place {
        Place::Embedded(_) => Some(length),
        Place::Record { offset } | Place::Object { offset } => offset.checked_add(length),
    };
    if reader.remaining() > 0 || end.is_none() {
        return Err(Malformed("its lengths are wrong"));
    }
    Ok(SourceHandle { attempt, partitions, place, length, rows, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::PartitionEntry;
    use base::{Epoch, StageId, TaskId};

    fn record(inline: bool, lengths: &[u64]) -> CommitRecord {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(2), partition: 9 };
        let attempt = AttemptId { task, generation: 0, epoch: Epoch(1), number: 4 };
        let mut offset = 0;
        let index = lengths.iter().map(|length| {
            offset += length;
            PartitionEntry {
                offset: offset - length,
                length: *length,
                rows: length / 10,
                bytes: length * 3,
                checksum: 1,
            }
        });
        let index = index.collect();
        let location = match inline {
            true => OutputLocation::Inline(vec![5; offset as usize].into()),
            false => OutputLocation::Object { bytes: offset + 50 },
        };
        CommitRecord::new(attempt, location, index)
    }

    #[test]
    fn a_handle_covers_a_range_and_round_trips() {
        for inline in [false, true] {
            let record = record(inline, &[100, 0, 8_000, 40, 0]);
            for (range, expected) in [(0..5, 8_140), (0..1, 100), (1..3, 8_000), (3..4, 40), (2..9, 8_040)] {
                let handle = SourceHandle::of(&record, range).unwrap();
                assert_eq!(
                    (handle.stored_bytes(), handle.rows(), handle.bytes()),
                    (expected, expected / 10, expected * 3)
                );
                assert_eq!(
                    matches!(handle.place(), Place::Embedded(_)),
                    inline && expected <= EMBEDDED_BYTES_MAX
                );
                assert_eq!(SourceHandle::decode(&handle.encode()).unwrap(), handle);
            }
            for empty in [1..2, 4..5, 5..9, 0..0] {
                assert_eq!(SourceHandle::of(&record, empty), None);
            }
        }
    }

    #[test]
    fn damaged_handles_are_errors() {
        let handle = SourceHandle::of(&record(true, &[100]), 0..1).unwrap();
        let bytes = handle.encode();
        for at in 0..bytes.len() {
            assert!(SourceHandle::decode(&bytes[..at]).is_err());
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x41;
            let _ = SourceHandle::decode(&flipped);
        }
    }
}
