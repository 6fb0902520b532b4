//! The JSON values of the client protocol: rows of Arrow batches as arrays of arrays.
//!
//! The text is written straight from the columns. What stands in it is what Trino writes, to the byte: clients
//! tell a double from an integer by the point in it.

mod cells;
mod number;
mod temporal;
mod text;

use arrow::record_batch::RecordBatch;
use base::{Error, Result};

use crate::capability::ClientCapabilities;
use crate::trino_type::Type;
use cells::Cells;

/// How large a page of results grows before it is sent, in bytes.
pub const PAGE_TARGET_BYTES: usize = 1 << 20;

/// Encodes batches of one result, for one client.
#[derive(Clone, Debug)]
pub struct RowEncoder {
    columns: Vec<Type>,
    capabilities: ClientCapabilities,
}

impl RowEncoder {
    /// An encoder of rows with these columns.
    pub fn new(columns: Vec<Type>, capabilities: ClientCapabilities) -> Self {
        RowEncoder { columns, capabilities }
    }

    /// Makes the rows of a batch ready to be written.
    ///
    /// # Errors
    ///
    /// A value that its column's type does not have (`NUMERIC_VALUE_OUT_OF_RANGE`, `NOT_SUPPORTED`); an internal
    /// error if the batch does not have the encoder's columns.
    pub fn rows(&self, batch: &RecordBatch) -> Result<BatchRows> {
        if batch.num_columns() != self.columns.len() {
            let (found, wanted) = (batch.num_columns(), self.columns.len());
            return Err(Error::internal(format!("the batch has {found} columns, the result has {wanted}")));
        }
        let columns = self.columns.iter().zip(batch.columns());
        let columns = columns.map(|(column_type, array)| Cells::new(column_type, array, self.capabilities));
        Ok(BatchRows { columns: columns.collect::<Result<_>>()?, count: batch.num_rows() })
    }
}

/// The rows of a batch, ready to be written.
#[derive(Debug)]
pub struct BatchRows {
    columns: Vec<Cells>,
    count: usize,
}

impl BatchRows {
    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Writes one row, `[1,"a"]`.
    ///
    /// # Panics
    ///
    /// If the row is not below [`BatchRows::count`].
    pub fn write(&self, row: usize, out: &mut String) {
        out.push('[');
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            column.write(row, out);
        }
        out.push(']');
    }
}

/// A page of rows being written, `[[1,"a"],[2,"b"]]`.
#[derive(Debug, Default)]
pub struct JsonRows {
    /// The text without the closing bracket; empty before the first row.
    text: String,
    count: usize,
}

impl JsonRows {
    /// A page without rows.
    pub fn new() -> Self {
        JsonRows::default()
    }

    /// How many rows it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How long its text is so far.
    pub fn size_bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds rows of the batch from `first` on, until they end or the page has reached the target size. At least one
    /// row is added if there is one. Returns the row to go on with: the batch's count if it is used up.
    pub fn push(&mut self, rows: &BatchRows, first: usize, target_bytes: usize) -> usize {
        let mut row = first;
        while row < rows.count() {
            self.text.push(if self.is_empty() { '[' } else { ',' });
            rows.write(row, &mut self.text);
            self.count += 1;
            row += 1;
            if self.size_bytes() >= target_bytes {
                break;
            }
        }
        row
    }

    /// The JSON text of the page, an array of arrays.
    pub fn finish(mut self) -> String {
        if self.is_empty() {
            self.text.push('[');
        }
        self.text.push(']');
        self.text
    }
}

#[cfg(test)]
mod tests;
