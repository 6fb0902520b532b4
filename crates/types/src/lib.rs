//! Trino types, their signatures, their Arrow forms and their JSON values.

#![forbid(unsafe_code)]

pub mod arrow_form;
pub mod capability;
pub mod display;
pub mod json;
mod parse;
pub mod signature;
pub mod trino_type;

pub use arrow_form::{TRINO_TYPE_METADATA_KEY, arrow_field};
pub use capability::ClientCapabilities;
pub use json::{BatchRows, JsonRows, RowEncoder};
pub use signature::{RowFieldName, SignatureArgument, TypeSignature};
pub use trino_type::{RowField, Type};
