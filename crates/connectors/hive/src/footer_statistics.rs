//! What a footer says of the values in each row group, as the table's types.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema};
use base::Result;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use crate::adapter::{find_column, is_readable_as};
use crate::error;
use crate::text::TextRule;

/// A footer, seen through a table's columns.
pub(crate) struct FooterStatistics {
    footer: Arc<ParquetMetaData>,
    file_schema: Schema,
}

impl FooterStatistics {
    /// The statistics in the footer of a file.
    pub(crate) fn new(file: &str, footer: Arc<ParquetMetaData>) -> Result<Self> {
        let metadata = footer.file_metadata();
        let file_schema = parquet_to_arrow_schema(metadata.schema_descr(), metadata.key_value_metadata())
            .map_err(|cause| error::bad_data(file, cause))?;
        Ok(FooterStatistics { footer, file_schema })
    }

    /// The row groups.
    pub(crate) fn row_groups(&self) -> &[RowGroupMetaData] {
        self.footer.row_groups()
    }

    /// The rows of each row group.
    pub(crate) fn row_counts(&self) -> UInt64Array {
        self.row_groups().iter().map(row_count).collect()
    }

    /// The least value of a column in each row group; NULL where it is not known. None: not known of any.
    pub(crate) fn mins(&self, wanted: &Field) -> Option<ArrayRef> {
        self.bounds(wanted, |converter, row_groups| converter.row_group_mins(row_groups))
    }

    /// The greatest value of a column in each row group; NULL where it is not known. None: not known of any.
    pub(crate) fn maxes(&self, wanted: &Field) -> Option<ArrayRef> {
        self.bounds(wanted, |converter, row_groups| converter.row_group_maxes(row_groups))
    }

    /// The NULLs of a column in each row group; NULL where they are not known. None: not known of any.
    pub(crate) fn null_counts(&self, wanted: &Field) -> Option<UInt64Array> {
        match find_column(&self.file_schema, wanted.name()) {
            Some(index) => {
                let converter = self.converter(index)?.with_missing_null_counts_as_zero(false);
                converter.row_group_null_counts(self.row_groups()).ok()
            }
            // A column that the file does not have is NULL in every row.
            None => Some(self.row_counts()),
        }
    }

    /// The size of a column's values in a row group as Arrow holds them, in bytes. An estimate.
    pub(crate) fn value_bytes(&self, row_group: &RowGroupMetaData, wanted: &Field) -> u64 {
        let rows = row_count(row_group).unwrap_or_default();
        if let Some(width) = wanted.data_type().primitive_width() {
            return rows.saturating_mul(width as u64);
        }
        let Some(index) = find_column(&self.file_schema, wanted.name()) else {
            return 0;
        };
        // A column may be several in the file, if it is nested.
        let schema = row_group.schema_descr();
        let leaves = (0..row_group.num_columns()).filter(|leaf| schema.get_column_root_idx(*leaf) == index);
        let size = |leaf: usize| {
            let chunk = row_group.column(leaf);
            let decoded = chunk
                .unencoded_byte_array_data_bytes()
                .map(|bytes| bytes.saturating_add(chunk.num_values() * 4));
            u64::try_from(decoded.unwrap_or(chunk.uncompressed_size())).unwrap_or_default()
        };
        leaves.map(size).sum()
    }

    fn bounds(
        &self,
        wanted: &Field,
        bounds: impl Fn(&StatisticsConverter, &[RowGroupMetaData]) -> parquet::errors::Result<ArrayRef>,
    ) -> Option<ArrayRef> {
        let index = find_column(&self.file_schema, wanted.name())?;
        let found = self.file_schema.field(index).data_type();
        let is_trimmed = TextRule::of(wanted).is_some_and(TextRule::is_trimmed);
        if is_trimmed || !keeps_order(found, wanted.data_type()) {
            return None;
        }
        let values = bounds(&self.converter(index)?, self.row_groups()).ok()?;
        // A value that the type does not hold becomes NULL: not known.
        let options = CastOptions { safe: true, ..CastOptions::default() };
        cast_with_options(&values, wanted.data_type(), &options).ok()
    }

    fn converter(&self, index: usize) -> Option<StatisticsConverter<'_>> {
        let name = self.file_schema.field(index).name();
        StatisticsConverter::try_new(name, &self.file_schema, self.footer.file_metadata().schema_descr()).ok()
    }
}

fn row_count(row_group: &RowGroupMetaData) -> Option<u64> {
    u64::try_from(row_group.num_rows()).ok()
}

/// Whether values that are cast keep their order, so that bounds stay bounds. Nested types have none.
fn keeps_order(found: &DataType, wanted: &DataType) -> bool {
    if let DataType::Dictionary(_, values) = found {
        return keeps_order(values, wanted);
    }
    !found.is_nested() && is_readable_as(found, wanted)
}
