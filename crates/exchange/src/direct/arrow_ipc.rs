//! An output as any reader of Arrow understands it: the messages of Arrow's IPC format.

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use base::{Error, ErrorCode, Result};
use bytes::Bytes;

use crate::frame::FrameHeader;
use crate::storage_type::StorageSchema;

/// One message of the IPC format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpcMessage {
    /// What it is: a schema or a record batch, as a flatbuffer.
    pub header: Bytes,
    /// The values.
    pub body: Bytes,
}

/// The message that comes first: the schema in which the rows are sent, where views and dictionaries are plain values.
pub fn schema_message(schema: &SchemaRef) -> IpcMessage {
    let storage = StorageSchema::new(SchemaRef::clone(schema));
    let fields = schema.fields().iter().zip(storage.stored().fields());
    let fields = fields.map(|(field, stored)| Field::new(field.name(), stored.data_type().clone(), true));
    let sent = Schema::new(fields.collect::<Vec<_>>());
    let mut tracker = DictionaryTracker::new(false);
    let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        &sent,
        &mut tracker,
        &IpcWriteOptions::default(),
    );
    IpcMessage { header: encoded.ipc_message.into(), body: Bytes::new() }
}

/// The message of a frame.
///
/// Fails with `CORRUPT_PAGE` where the bytes are not a frame.
pub fn batch_message(frame: &[u8]) -> Result<IpcMessage> {
    let corrupt = |error| Error::new(ErrorCode::CORRUPT_PAGE, format!("Direct exchange: {error}"));
    let header = FrameHeader::parse(frame, u64::MAX).map_err(corrupt)?;
    header.verify(frame).map_err(corrupt)?;
    let (message, body) = header.ipc_parts(frame).map_err(corrupt)?;
    Ok(IpcMessage { header: message, body })
}
