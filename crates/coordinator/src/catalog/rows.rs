//! Rows of system tables, built cell by cell.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, ListBuilder, RecordBatch, RecordBatchOptions, StringBuilder,
    TimestampMillisecondBuilder,
};
use base::{Error, Result};
use bytes::Bytes;
use connector::{ColumnMetadata, TableHandle, TableMetadata};
use types::Type;

/// The type of a column of a system table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `varchar`
    Text,
    /// `bigint`
    Bigint,
    /// `boolean`
    Boolean,
    /// `timestamp(3) with time zone`
    Instant,
    /// `array(varchar)`
    Texts,
}

/// A column of a system table.
pub type Column = (&'static str, ColumnKind);

/// A value of a system table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// `NULL`
    Null,
    /// Of [`ColumnKind::Text`].
    Text(String),
    /// Of [`ColumnKind::Bigint`].
    Bigint(i64),
    /// Of [`ColumnKind::Boolean`].
    Boolean(bool),
    /// Of [`ColumnKind::Instant`].
    Instant(SystemTime),
    /// Of [`ColumnKind::Texts`].
    Texts(Vec<String>),
}

impl Cell {
    /// A count; more than a bigint holds is the greatest bigint.
    pub fn count(count: u64) -> Cell {
        Cell::Bigint(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A count of things in memory.
    pub fn size(size: usize) -> Cell {
        Cell::count(size as u64)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_string())
    }
}

impl From<SystemTime> for Cell {
    fn from(time: SystemTime) -> Self {
        Cell::Instant(time)
    }
}

impl ColumnKind {
    fn column_type(self) -> Type {
        match self {
            ColumnKind::Text => Type::VARCHAR,
            ColumnKind::Bigint => Type::Bigint,
            ColumnKind::Boolean => Type::Boolean,
            ColumnKind::Instant => Type::TimestampWithTimeZone { precision: 3 },
            ColumnKind::Texts => Type::Array(Box::new(Type::VARCHAR)),
        }
    }
}

/// The metadata of a system table with these columns.
pub fn table_metadata(handle: impl Into<Bytes>, columns: &[Column]) -> TableMetadata {
    let columns = columns
        .iter()
        .map(|(name, kind)| ColumnMetadata {
            name: (*name).to_string(),
            column_type: kind.column_type(),
            nullable: true,
            comment: None,
        })
        .collect();
    TableMetadata { handle: TableHandle(handle.into()), columns, comment: None, properties: Vec::new() }
}

/// The rows as Arrow. Fails if a cell is not of its column's kind.
pub fn record_batch(columns: &[Column], rows: Vec<Vec<Cell>>) -> Result<RecordBatch> {
    let schema = table_metadata(Bytes::new(), columns).arrow_schema();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let mut by_column: Vec<Vec<Cell>> = columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        if row.len() != columns.len() {
            return Err(Error::internal("a row of a system table has another number of columns"));
        }
        for (column, cell) in by_column.iter_mut().zip(row) {
            column.push(cell);
        }
    }
    let arrays = columns
        .iter()
        .zip(by_column)
        .zip(schema.fields())
        .map(|(((_, kind), cells), field)| {
            let array = array(*kind, cells)?;
            arrow::compute::cast(&array, field.data_type())
                .map_err(|error| Error::internal(format!("a column of a system table: {error}")))
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|error| Error::internal(format!("rows of a system table: {error}")))
}

fn array(kind: ColumnKind, cells: Vec<Cell>) -> Result<ArrayRef> {
    let wrong = || Error::internal("a cell of a system table is not of its column's type");
    Ok(match kind {
        ColumnKind::Text => {
            let mut builder = StringBuilder::new();
            for cell in cells {
                match cell {
                    Cell::Text(text) => builder.append_value(text),
                    Cell::Null => builder.append_null(),
                    _ => return Err(wrong()),
                }
            }
            Arc::new(builder.finish())
        }
        ColumnKind::Bigint => {
            let mut builder = Int64Builder::new();
            for cell in cells {
                match cell {
                    Cell::Bigint(number) => builder.append_value(number),
                    Cell::Null => builder.append_null(),
                    _ => return Err(wrong()),
                }
            }
            Arc::new(builder.finish())
        }
        ColumnKind::Boolean => {
            let mut builder = BooleanBuilder::new();
            for cell in cells {
                match cell {
                    Cell::Boolean(truth) => builder.append_value(truth),
                    Cell::Null => builder.append_null(),
                    _ => return Err(wrong()),
                }
            }
            Arc::new(builder.finish())
        }
        ColumnKind::Instant => {
            let mut builder = TimestampMillisecondBuilder::new();
            for cell in cells {
                match cell {
                    Cell::Instant(time) => builder.append_value(unix_millis(time)),
                    Cell::Null => builder.append_null(),
                    _ => return Err(wrong()),
                }
            }
            Arc::new(builder.finish().with_timezone_utc())
        }
        ColumnKind::Texts => {
            let mut builder = ListBuilder::new(StringBuilder::new());
            for cell in cells {
                match cell {
                    Cell::Texts(texts) => builder.append_value(texts.into_iter().map(Some)),
                    Cell::Null => builder.append_null(),
                    _ => return Err(wrong()),
                }
            }
            Arc::new(builder.finish())
        }
    })
}

fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_become_columns_of_the_declared_types() {
        let columns: &[Column] = &[
            ("name", ColumnKind::Text),
            ("count", ColumnKind::Bigint),
            ("alive", ColumnKind::Boolean),
            ("seen", ColumnKind::Instant),
            ("path", ColumnKind::Texts),
        ];
        let row = vec![
            "a".into(),
            Cell::count(3),
            Cell::Boolean(true),
            Cell::Instant(SystemTime::UNIX_EPOCH),
            Cell::Texts(vec!["global".into()]),
        ];
        let empty = vec![Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null];
        let batch = record_batch(columns, vec![row, empty]).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.schema(), table_metadata(Bytes::new(), columns).arrow_schema());
        assert!(record_batch(columns, vec![vec![Cell::count(1)]]).is_err());
        assert!(record_batch(&columns[..1], vec![vec![Cell::count(1)]]).is_err());
    }
}
