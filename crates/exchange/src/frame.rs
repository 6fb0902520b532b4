//! A frame: some rows of one partition, as one Arrow IPC record batch, compressed and checksummed.
//!
//! ```text
//! offset  bytes
//!      0      4  magic "SFFR"
//!      4      1  version, 1
//!      5      1  flags: bits 0–1 the codec (0 none, 1 LZ4, 2 zstd); bit 2 tells that integers are narrowed; bit 7
//!                is reserved for sealed payloads; the others are zero
//!      6      2  zero, reserved
//!      8      4  partition
//!     12      4  rows
//!     16      4  length of the payload as stored
//!     20      4  length of the payload before compression
//!     24      4  length of the IPC body, which comes first in the payload; the IPC message follows it, and then,
//!                where integers are narrowed, how each column is
//!     28      4  fingerprint of the column types
//!     32      4  length of what comes first in the payload and is not compressed
//!     36      4  CRC32C of the 36 bytes before and of the payload as stored
//!     40      …  payload
//! ```
//!
//! Frames carry no schema: the reader knows it, and the fingerprint tells when it is another one. A sealed
//! payload will be the ciphertext of the compressed one with the 36 bytes as associated data, so the layout
//! needs no change for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::RecordBatchDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_message};
use bytes::Bytes;

use crate::buffer::value_bytes;
use crate::checksum::checksum;
use crate::codec::{Compressor, ExchangeCompression, decompress};
use crate::narrow::{NARROWING_BYTES, Narrowing, narrowed, narrowed_schema, widened};
use crate::storage_type::StorageSchema;
use crate::wire::{Malformed, Reader};

const MAGIC: [u8; 4] = *b"SFFR";
const VERSION: u8 = 1;
const CODEC_MASK: u8 = 0b11;
const NARROWED: u8 = 0b100;

/// The length of a frame's header, in bytes.
pub const HEADER_BYTES: usize = 40;

/// Where the CRC is in the header: it covers what is before it.
const CRC_OFFSET: usize = 36;

/// Arrow reads 128-bit values in place where buffers are aligned to this many bytes.
const BODY_ALIGNMENT_BYTES: usize = 16;

/// What padding and metadata may add to the values of a frame, in bytes.
const OVERHEAD_BYTES_MAX: u64 = 4 << 20;

/// Why bytes are not a frame.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// They do not start as a frame does.
    Magic,
    /// A version that we do not know.
    Version(u8),
    /// A flag that we do not know.
    Flags(u8),
    /// It claims to be longer than a frame may be.
    TooLong(u64),
    /// The CRC does not match.
    Checksum,
    /// There are fewer bytes than the header says.
    Truncated,
    /// The payload is not what the header says.
    Malformed(&'static str),
    /// Arrow refuses it.
    Arrow(ArrowError),
    /// It was written with other column types than the reader expects: our mistake, not the store's.
    Schema,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Magic => f.write_str("no frame starts where one should"),
            FrameError::Version(version) => write!(f, "frame version {version} is not known"),
            FrameError::Flags(flags) => write!(f, "frame flags {flags:#x} are not known"),
            FrameError::TooLong(length) => write!(f, "a frame claims {length} bytes"),
            FrameError::Checksum => f.write_str("the checksum of a frame does not match"),
            FrameError::Truncated => f.write_str("a frame is truncated"),
            FrameError::Malformed(part) => write!(f, "a frame is malformed: {part}"),
            FrameError::Arrow(error) => write!(f, "a frame cannot be decoded: {error}"),
            FrameError::Schema => f.write_str("a frame was written with other column types than are read"),
        }
    }
}

impl From<Malformed> for FrameError {
    fn from(_: Malformed) -> Self {
        FrameError::Truncated
    }
}

/// An encoded frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Header and payload.
    pub(crate) content: Bytes,
    /// The rows in it.
    pub(crate) rows: u64,
    /// The bytes of the values before compression.
    pub(crate) raw_bytes: u64,
    /// The sum of the hashes of its rows.
    pub(crate) checksum: u64,
}

/// Encodes frames of one schema.
#[derive(Debug)]
pub(crate) struct FrameEncoder {
    storage: Arc<StorageSchema>,
    compressor: Compressor,
    options: IpcWriteOptions,
    context: IpcWriteContext,
    frame_bytes_max: u64,
    with_row_checksums: bool,
    with_narrowing: bool,
}

/// Why a batch cannot become a frame.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// It has this many bytes, which is more than a frame may have.
    TooLarge(u64),
    /// Arrow refuses it.
    Arrow(ArrowError),
}

impl From<ArrowError> for EncodeError {
    fn from(error: ArrowError) -> Self {
        EncodeError::Arrow(error)
    }
}

impl FrameEncoder {
    pub(crate) fn new(
        storage: Arc<StorageSchema>,
        codec: ExchangeCompression,
        frame_bytes_max: u64,
    ) -> Result<Self, ArrowError> {
        Ok(FrameEncoder {
            storage,
            compressor: Compressor::new(codec),
            options: IpcWriteOptions::try_new(BODY_ALIGNMENT_BYTES, false, MetadataVersion::V5)?,
            context: IpcWriteContext::default(),
            frame_bytes_max,
            with_row_checksums: true,
            with_narrowing: true,
        })
    }

    /// The same encoder for frames whose rows nobody compares: their sum of row hashes is 0.
    pub(crate) fn without_row_checksums(mut self) -> Self {
        self.with_row_checksums = false;
        self
    }

    /// The same encoder for frames whose IPC parts others read: integers are not narrowed.
    pub(crate) fn without_narrowing(mut self) -> Self {
        self.with_narrowing = false;
        self
    }

    /// How many bytes of values a frame may have.
    pub(crate) fn frame_bytes_max(&self) -> u64 {
        self.frame_bytes_max
    }

    /// Encodes a batch that is in the stored types.
    pub(crate) fn encode(&mut self, partition: u32, batch: &RecordBatch) -> Result<Frame, EncodeError> {
        let value_bytes = value_bytes(batch);
        if value_bytes > self.frame_bytes_max.saturating_add(OVERHEAD_BYTES_MAX / 2) {
            return Err(EncodeError::TooLarge(value_bytes));
        }
        let narrowed = if self.with_narrowing { narrowed(batch)? } else { None };
        // The stored types have no dictionaries, so that the tracker stays empty and one message is all
        // there is.
        let mut tracker = DictionaryTracker::new(false);
        let generator = IpcDataGenerator::default();
        let values = narrowed.as_ref().map_or(batch, |narrowed| &narrowed.batch);
        let (_, encoded) = generator.encode(values, &mut tracker, &self.options, &mut self.context)?;
        let mut raw = encoded.arrow_data;
        let body_length = raw.len();
        raw.extend_from_slice(&encoded.ipc_message);
        for narrowing in narrowed.iter().flat_map(|narrowed| &narrowed.narrowings) {
            raw.extend_from_slice(&narrowing.to_bytes());
        }
        let dense_columns = narrowed.as_ref().map_or(0, |narrowed| narrowed.dense_columns);
        let dense_length = dense_length(&encoded.ipc_message, dense_columns, body_length);

        let (dense, rest) = raw.split_at(dense_length);
        let (codec, mut content) = self.compressor.compress(rest, &[&[0; HEADER_BYTES], dense]);
        let fits = |length: usize| u32::try_from(length).map_err(|_| EncodeError::TooLarge(length as u64));
        let header = [
            partition,
            fits(batch.num_rows())?,
            fits(content.len() - HEADER_BYTES)?,
            fits(raw.len())?,
            fits(body_length)?,
            self.storage.fingerprint(),
            fits(dense_length)?,
        ];
        content[..4].copy_from_slice(&MAGIC);
        content[4] = VERSION;
        content[5] = codec_bits(codec) | if narrowed.is_some() { NARROWED } else { 0 };
        for (at, value) in header.into_iter().enumerate() {
            content[8 + 4 * at..12 + 4 * at].copy_from_slice(&value.to_le_bytes());
        }
        let crc = crc(&content[..CRC_OFFSET], &content[HEADER_BYTES..]);
        content[CRC_OFFSET..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        Ok(Frame {
            content: Bytes::from(content),
            rows: batch.num_rows() as u64,
            raw_bytes: value_bytes,
            checksum: if self.with_row_checksums { checksum(batch) } else { 0 },
        })
    }
}

/// The bytes of the body that hold the first so many columns, each of which has two buffers.
fn dense_length(message: &[u8], columns: usize, body_length: usize) -> usize {
    let message = root_as_message(message).ok().filter(|_| columns > 0);
    let buffers = message.and_then(|message| message.header_as_record_batch()?.buffers());
    match buffers {
        Some(buffers) if buffers.len() > 2 * columns => {
            usize::try_from(buffers.get(2 * columns).offset()).unwrap_or(0).min(body_length)
        }
        Some(_) => body_length,
        None => 0,
    }
}

fn crc(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

fn codec_bits(codec: ExchangeCompression) -> u8 {
    match codec {
        ExchangeCompression::None => 0,
        ExchangeCompression::Lz4 => 1,
        ExchangeCompression::Zstd => 2,
    }
}

/// The header of a frame, checked as far as that goes without the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) partition: u32,
    pub(crate) rows: u32,
    pub(crate) payload_length: usize,
    raw_length: usize,
    body_length: usize,
    fingerprint: u32,
    dense_length: usize,
    crc: u32,
    codec: ExchangeCompression,
    is_narrowed: bool,
}

impl FrameHeader {
    /// Reads the first [`HEADER_BYTES`] bytes of a frame.
    pub(crate) fn parse(bytes: &[u8], frame_bytes_max: u64) -> Result<Self, FrameError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let flags = reader.u8()?;
        let codec = match flags & CODEC_MASK {
            0 => ExchangeCompression::None,
            1 => ExchangeCompression::Lz4,
            2 => ExchangeCompression::Zstd,
            _ => return Err(FrameError::Flags(flags)),
        };
        if flags & !(CODEC_MASK | NARROWED) != 0 || reader.array::<2>()? != [0; 2] {
            return Err(FrameError::Flags(flags));
        }
        let header = FrameHeader {
            partition: reader.u32()?,
            rows: reader.u32()?,
            payload_length: reader.u32()? as usize,
            raw_length: reader.u32()? as usize,
            body_length: reader.u32()? as usize,
            fingerprint: reader.u32()?,
            dense_length: reader.u32()? as usize,
            crc: reader.u32()?,
            codec,
            is_narrowed: flags & NARROWED != 0,
        };
        let length = header.payload_length.max(header.raw_length) as u64;
        if length > frame_bytes_max.saturating_add(OVERHEAD_BYTES_MAX) {
            return Err(FrameError::TooLong(length));
        }
        if header.body_length > header.raw_length {
            return Err(FrameError::Malformed("the body is longer than the payload"));
        }
        if header.dense_length > header.body_length.min(header.payload_length) {
            return Err(FrameError::Malformed("what is not compressed is longer than the payload"));
        }
        Ok(header)
    }

    fn payload<'a>(&self, content: &'a [u8]) -> Result<&'a [u8], FrameError> {
        content.get(HEADER_BYTES..HEADER_BYTES + self.payload_length).ok_or(FrameError::Truncated)
    }

    /// Compares the checksum with the frame.
    pub(crate) fn verify(&self, content: &[u8]) -> Result<(), FrameError> {
        let payload = self.payload(content)?;
        if crc(&content[..CRC_OFFSET], payload) == self.crc { Ok(()) } else { Err(FrameError::Checksum) }
    }

    /// Fills `raw`, of the right length, with the payload before compression: the IPC body, then the IPC message.
    fn decompress(&self, content: &[u8], raw: &mut [u8]) -> Result<(), FrameError> {
        let (dense, rest) = self.payload(content)?.split_at(self.dense_length);
        let (raw_dense, raw_rest) = raw.split_at_mut(self.dense_length);
        raw_dense.copy_from_slice(dense);
        decompress(self.codec, rest, raw_rest).map_err(|()| FrameError::Malformed("the compressed payload"))
    }

    /// The IPC message of the frame and its body, as Arrow's own readers take them.
    ///
    /// Only of frames without narrowed integers.
    pub(crate) fn ipc_parts(&self, content: &[u8]) -> Result<(Bytes, Bytes), FrameError> {
        if self.is_narrowed {
            return Err(FrameError::Malformed("its integers are narrowed"));
        }
        let mut raw = vec![0; self.raw_length];
        self.decompress(content, &mut raw)?;
        let raw = Bytes::from(raw);
        Ok((raw.slice(self.body_length..), raw.slice(..self.body_length)))
    }
}

/// Decodes a frame whose header was parsed from the same bytes, into the stored types.
pub(crate) fn decode(
    header: &FrameHeader,
    content: &[u8],
    storage: &StorageSchema,
) -> Result<RecordBatch, FrameError> {
    header.verify(content)?;
    decode_verified(header, content, storage)
}

/// Decodes a frame whose checksum is known to match, or is not to be looked at.
pub(crate) fn decode_verified(
    header: &FrameHeader,
    content: &[u8],
    storage: &StorageSchema,
) -> Result<RecordBatch, FrameError> {
    if header.fingerprint != storage.fingerprint() {
        return Err(FrameError::Schema);
    }
    let mut raw = MutableBuffer::from_len_zeroed(header.raw_length);
    header.decompress(content, &mut raw)?;
    let raw = Buffer::from(raw);
    let stored = storage.stored();
    let (end, narrowings) = if header.is_narrowed {
        let (end, narrowings) = narrowings(&raw, stored.fields().len()).ok_or(NARROWINGS)?;
        (end, Some((narrowed_schema(stored, &narrowings).ok_or(NARROWINGS)?, narrowings)))
    } else {
        (raw.len(), None)
    };
    let message = raw.get(header.body_length..end).ok_or(FrameError::Truncated)?;
    let message = root_as_message(message).map_err(|_| FrameError::Malformed("the message"))?;
    let Some(batch) = message.header_as_record_batch() else {
        return Err(FrameError::Malformed("the message is no record batch"));
    };
    check_record_batch(header, &batch)?;
    let body = raw.slice_with_length(0, header.body_length);
    let read = |schema: &SchemaRef| {
        let dictionaries = HashMap::new();
        RecordBatchDecoder::try_new(&body, batch, Arc::clone(schema), &dictionaries, &message.version())
            .and_then(RecordBatchDecoder::read_record_batch)
    };
    let read = match narrowings {
        None => read(stored),
        Some((schema, narrowings)) => read(&schema).and_then(|batch| widened(&batch, &narrowings, stored)),
    };
    read.map_err(FrameError::Arrow)
}

const NARROWINGS: FrameError = FrameError::Malformed("how its integers are narrowed");

/// How so many columns were narrowed, and where in the payload that starts.
fn narrowings(raw: &[u8], columns: usize) -> Option<(usize, Vec<Narrowing>)> {
    let start = raw.len().checked_sub(columns * NARROWING_BYTES)?;
    let narrowings = raw[start..].as_chunks().0.iter().map(|bytes| Narrowing::from_bytes(*bytes));
    Some((start, narrowings.collect::<Option<_>>()?))
}

/// Arrow trusts these numbers and would panic where they are wrong.
fn check_record_batch(header: &FrameHeader, batch: &arrow::ipc::RecordBatch<'_>) -> Result<(), FrameError> {
    if batch.length() != i64::from(header.rows) {
        return Err(FrameError::Malformed("the number of rows"));
    }
    if batch.compression().is_some() || batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty())
    {
        return Err(FrameError::Malformed("an encoding that is never written"));
    }
    let within = |offset: i64, length: i64| {
        let end = u64::try_from(offset).ok().zip(u64::try_from(length).ok());
        end.and_then(|(offset, length)| offset.checked_add(length))
            .is_some_and(|end| end <= header.body_length as u64)
    };
    if batch.buffers().is_some_and(|all| all.iter().any(|buffer| !within(buffer.offset(), buffer.length()))) {
        return Err(FrameError::Malformed("a buffer outside of the body"));
    }
    let valid = |length: i64, nulls: i64| (0..=length).contains(&nulls) && length <= i64::from(i32::MAX);
    if batch.nodes().is_some_and(|all| all.iter().any(|node| !valid(node.length(), node.null_count()))) {
        return Err(FrameError::Malformed("the length of a column"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    const BYTES_MAX: u64 = 1 << 20;

    fn encoded(codec: ExchangeCompression) -> (Vec<u8>, RecordBatch, Arc<StorageSchema>) {
        let words: Vec<_> = (0..200).map(|at| format!("word {}", at % 7)).collect();
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter((0..200).map(|n| (n % 5 != 0).then_some(n)))) as ArrayRef),
            ("w", Arc::new(StringArray::from(words)) as ArrayRef),
        ])
        .unwrap();
        let storage = Arc::new(StorageSchema::new(batch.schema()));
        let stored = storage.to_stored(&batch).unwrap();
        let mut encoder = FrameEncoder::new(Arc::clone(&storage), codec, BYTES_MAX).unwrap();
        (encoder.encode(3, &stored).unwrap().content.to_vec(), batch, storage)
    }

    fn read(bytes: &[u8], storage: &StorageSchema) -> Result<RecordBatch, FrameError> {
        let header = FrameHeader::parse(bytes.get(..HEADER_BYTES).ok_or(FrameError::Truncated)?, BYTES_MAX)?;
        decode(&header, bytes, storage)
    }

    #[test]
    fn frames_round_trip_with_every_codec() {
        for codec in [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd] {
            let (bytes, batch, storage) = encoded(codec);
            let back = storage.to_logical(&read(&bytes, &storage).unwrap()).unwrap();
            assert_eq!(back, [batch]);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found() {
        for codec in [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd] {
            let (bytes, _, storage) = encoded(codec);
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                assert!(read(&flipped, &storage).is_err(), "{codec} byte {at}");
                assert!(read(&bytes[..at], &storage).is_err(), "{codec} length {at}");
            }
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
        let (mut bytes, _, storage) = encoded(ExchangeCompression::Lz4);
        bytes[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(read(&bytes, &storage), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn another_schema_is_our_mistake() {
        let (bytes, batch, _) = encoded(ExchangeCompression::Lz4);
        let other = StorageSchema::new(batch.project(&[1, 0]).unwrap().schema());
        assert!(matches!(read(&bytes, &other), Err(FrameError::Schema)));
    }
}
