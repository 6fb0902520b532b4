//! Where each partition is in an object, and what is in it.
//!
//! The index is in the commit record, where readers take it from, and again at the end of every data object,
//! so that an object explains itself.
//!
//! ```text
//! varint  number of partitions
//!         of each partition: varint length, varint rows, varint bytes, u64 checksum (left out where there are no rows)
//! ```

use std::sync::Arc;

use crate::wire::{Malformed, Reader, Writer};

const FOOTER_MAGIC: [u8; 4] = *b"SFIX";

/// How many bytes follow the index at the end of an object: its CRC32C, its length and a magic number.
const FOOTER_TRAILER_BYTES: u64 = 12;

/// An odd number whose products spread over all bits.
const PARTITION_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// One partition of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionEntry {
    /// Where its frames start.
    pub offset: u64,
    /// The length of its frames, as stored.
    pub length: u64,
    /// The rows in it.
    pub rows: u64,
    /// The bytes of its values before compression.
    pub bytes: u64,
    /// The wrapping sum of the hashes of its rows: the same whenever the rows are, in any order.
    pub checksum: u64,
}

impl PartitionEntry {
    /// The checksum and the number of its rows, mixed with the number of the partition: the same rows in another
    /// partition have another one.
    pub(crate) fn weighed_checksum(&self, partition: u64) -> u64 {
        let mut mixed = partition.wrapping_add(1).wrapping_mul(PARTITION_FACTOR);
        for part in [self.checksum, self.rows] {
            mixed = (mixed ^ part).wrapping_mul(PARTITION_FACTOR);
            mixed ^= mixed >> 32;
        }
        mixed
    }
}

/// Writes the index. The offsets follow from the lengths, because partitions are written in order without
/// gaps.
pub(crate) fn encode(index: &[PartitionEntry], writer: &mut Writer) {
    writer.varint(index.len() as u64);
    for entry in index {
        writer.varint(entry.length);
        if entry.length > 0 {
            writer.varint(entry.rows);
            writer.varint(entry.bytes);
            writer.u64(entry.checksum);
        }
    }
}

/// Reads an index and the length of all frames.
pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<(Arc<[PartitionEntry]>, u64), Malformed> {
    let count = reader.varint()?;
    // Each entry takes a byte at least, which bounds what is allocated.
    if count > reader.remaining() as u64 {
        return Err(Malformed("its index is truncated"));
    }
    let mut offset = 0u64;
    let mut index = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let mut entry = PartitionEntry { offset, length: reader.varint()?, ..PartitionEntry::default() };
        if entry.length > 0 {
            entry.rows = reader.varint()?;
            entry.bytes = reader.varint()?;
            entry.checksum = reader.u64()?;
        }
        offset = offset.checked_add(entry.length).ok_or(Malformed("its index overflows"))?;
        index.push(entry);
    }
    Ok((index.into(), offset))
}

/// The end of a data object.
pub(crate) fn footer(index: &[PartitionEntry]) -> Vec<u8> {
    let mut writer = Writer::default();
    encode(index, &mut writer);
    let length = writer.0.len() as u32;
    writer.u32(crc32c::crc32c(&writer.0));
    writer.u32(length);
    writer.bytes(&FOOTER_MAGIC);
    writer.0
}

/// Reads the index of a data object from its end, of which `tail` must hold enough.
///
/// Readers do not need it: they know the index from the commit record. It serves those who look into a store.
pub fn read_footer(tail: &[u8]) -> Option<Arc<[PartitionEntry]>> {
    let trailer_start = tail.len().checked_sub(FOOTER_TRAILER_BYTES as usize)?;
    let mut reader = Reader::new(&tail[trailer_start..]);
    let (crc, length) = (reader.u32().ok()?, reader.u32().ok()?);
    if reader.array().ok()? != FOOTER_MAGIC {
        return None;
    }
    let start = trailer_start.checked_sub(length as usize)?;
    let index = &tail[start..trailer_start];
    if crc32c::crc32c(index) != crc {
        return None;
    }
    let mut reader = Reader::new(index);
    let (index, _) = decode(&mut reader).ok()?;
    (reader.remaining() == 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_round_trips_through_the_footer() {
        let entry = |offset, length, rows| PartitionEntry {
            offset,
            length,
            rows,
            bytes: rows * 8,
            checksum: rows << 40,
        };
        let empty = |offset| PartitionEntry { offset, ..PartitionEntry::default() };
        let index = [empty(0), entry(0, 900, 20), entry(900, 36, 1), empty(936)];
        let mut object = vec![0xaa; 936];
        object.extend_from_slice(&footer(&index));
        assert_eq!(read_footer(&object).unwrap()[..], index);
        for at in 936..object.len() {
            let mut flipped = object.clone();
            flipped[at] ^= 0x10;
            assert_eq!(read_footer(&flipped), None, "byte {at}");
        }
        assert_eq!(read_footer(&object[..object.len() - 1]), None);
        assert_eq!(read_footer(&[]), None);
    }
}
