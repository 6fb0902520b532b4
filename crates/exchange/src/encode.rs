//! From batches to frames, whatever carries them.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use base::{DataSize, Error, ErrorCode, Result};

use crate::frame::{EncodeError, Frame, FrameEncoder};

/// What a batch that Arrow refuses ends an attempt with.
pub(crate) fn arrow_error(error: ArrowError) -> Error {
    Error::internal("Exchange sink cannot write a batch").caused_by(error)
}

/// Encodes a batch that is in the stored types, in halves where it is too large for one frame.
///
/// Fails with `NOT_SUPPORTED` where a single row is larger than a frame may be.
pub(crate) fn encode_frames(
    encoder: &mut FrameEncoder,
    partition: u32,
    batch: &RecordBatch,
) -> Result<Vec<Frame>> {
    let mut frames = Vec::with_capacity(1);
    let mut open = vec![batch.clone()];
    while let Some(batch) = open.pop() {
        match encoder.encode(partition, &batch) {
            Ok(frame) => frames.push(frame),
            Err(EncodeError::TooLarge(_)) if batch.num_rows() > 1 => {
                let half = batch.num_rows() / 2;
                open.push(batch.slice(half, batch.num_rows() - half));
                open.push(batch.slice(0, half));
            }
            Err(EncodeError::TooLarge(bytes)) => {
                let (max, actual) = (DataSize(encoder.frame_bytes_max()), DataSize(bytes));
                let text = format!("Max row size of {max} exceeded: {actual}");
                return Err(Error::new(ErrorCode::NOT_SUPPORTED, text));
            }
            Err(EncodeError::Arrow(error)) => return Err(arrow_error(error)),
        }
    }
    Ok(frames)
}
