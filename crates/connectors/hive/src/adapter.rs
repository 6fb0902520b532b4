//! From the columns of a file to those of its table.
//!
//! A table's column is the file's column of the same name, in whatever case; NULL where the file has none; cast
//! where the file has another type that holds such values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use base::{Error, Result};
use connector::error::into_datafusion;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::physical_plan::PhysicalExpr;
use types::Type;

/// The column of a file that a table's column is: the one with exactly its name, or else the first with its name
/// in another case.
pub(crate) fn find_column(file: &Schema, name: &str) -> Option<usize> {
    let exact = file.fields().iter().position(|field| field.name() == name);
    let same = |field: &Arc<Field>| field.name().to_lowercase() == name.to_lowercase();
    exact.or_else(|| file.fields().iter().position(same))
}

/// The columns of one scan, to be found in each of its files.
///
/// DataFusion is given them under names that no file has, made of their numbers: columns that it recognises, it
/// would read as the table's type without looking whether the values are of it.
#[derive(Debug)]
pub(crate) struct TableColumns {
    /// The table's fields as the scan has them, whose metadata name the Trino types.
    pub(crate) table: SchemaRef,
}

/// The name that DataFusion is given of a column.
fn numbered_name(index: usize) -> String {
    format!("\0{index}")
}

impl TableColumns {
    /// The schema of the scan under the other names, with nothing that only Trino's types need, and with every
    /// column nullable: what files can promise.
    pub(crate) fn numbered_schema(&self) -> SchemaRef {
        let fields = self.table.fields().iter().enumerate();
        let fields =
            fields.map(|(index, field)| Field::new(numbered_name(index), field.data_type().clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// An expression over the columns under the other names.
    pub(crate) fn numbered(
        &self,
        expression: Arc<dyn PhysicalExpr>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        replace_columns(expression, |column| {
            Ok(Arc::new(Column::new(&numbered_name(column.index()), column.index())))
        })
    }
}

fn replace_columns(
    expression: Arc<dyn PhysicalExpr>,
    replace: impl Fn(&Column) -> DataFusionResult<Arc<dyn PhysicalExpr>>,
) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
    let replace = |node: Arc<dyn PhysicalExpr>| match node.downcast_ref::<Column>() {
        Some(column) => Ok(Transformed::yes(replace(column)?)),
        None => Ok(Transformed::no(node)),
    };
    expression.transform_up(replace).data()
}

impl PhysicalExprAdapterFactory for TableColumns {
    fn create(&self, numbered: SchemaRef, file: SchemaRef) -> DataFusionResult<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(FileColumns { table: Arc::clone(&self.table), numbered, file }))
    }
}

#[derive(Debug)]
struct FileColumns {
    table: SchemaRef,
    numbered: SchemaRef,
    file: SchemaRef,
}

impl PhysicalExprAdapter for FileColumns {
    fn rewrite(&self, expression: Arc<dyn PhysicalExpr>) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        replace_columns(expression, |column| self.column(column))
    }
}

impl FileColumns {
    fn column(&self, column: &Column) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let wanted = self.table.field(self.numbered.index_of(column.name())?);
        let Some(index) = find_column(&self.file, wanted.name()) else {
            return Ok(Arc::new(Literal::new(ScalarValue::try_new_null(wanted.data_type())?)));
        };
        let found = self.file.field(index);
        check_readable(found, wanted).map_err(into_datafusion)?;
        let file_column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(found.name(), index));
        if found.data_type() == wanted.data_type() {
            return Ok(file_column);
        }
        let target = Field::new(column.name(), wanted.data_type().clone(), true);
        Ok(Arc::new(CastExpr::new_with_target_field(file_column, Arc::new(target), None)))
    }
}

fn check_readable(found: &Field, wanted: &Field) -> Result<()> {
    if is_readable_as(found.data_type(), wanted.data_type()) {
        return Ok(());
    }
    let text = format!(
        "Unsupported Trino column type ({}) for Parquet column ({}: {})",
        Type::from_field(wanted),
        found.name(),
        found.data_type()
    );
    Err(Error::not_supported(text))
}

/// Whether every value of a type in a file has its like in a type of a table, or fails the cast if it is too large.
pub(crate) fn is_readable_as(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary,
        FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, LargeBinary, LargeList, LargeUtf8, List,
        Map, Null, Struct, Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    if found == wanted {
        return true;
    }
    match (found, wanted) {
        (Null, _) => true,
        (Dictionary(_, values), _) => is_readable_as(values, wanted),
        (found, wanted) if found.is_integer() && wanted.is_integer() => true,
        (found, Decimal128(..)) if found.is_integer() => true,
        (Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..), Decimal128(..)) => true,
        (Float16 | Float32, Float32 | Float64) => true,
        (
            Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
            Utf8 | Binary,
        ) => true,
        (Date32 | Date64, Date32) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (Timestamp(..), Timestamp(..)) => true,
        (List(found) | LargeList(found) | FixedSizeList(found, _), List(wanted)) => {
            is_readable_as(found.data_type(), wanted.data_type())
        }
        (Map(found, _), Map(wanted, _)) => entries_are_readable(found.data_type(), wanted.data_type()),
        (Struct(found), Struct(wanted)) => fields_are_readable(found, wanted),
        _ => false,
    }
}

/// Keys and values go by their place: files do not agree on their names.
fn entries_are_readable(found: &DataType, wanted: &DataType) -> bool {
    let (DataType::Struct(found), DataType::Struct(wanted)) = (found, wanted) else {
        return false;
    };
    found.len() == wanted.len()
        && found
            .iter()
            .zip(wanted)
            .all(|(found, wanted)| is_readable_as(found.data_type(), wanted.data_type()))
}

/// Fields of rows go by name. One at least must be there.
fn fields_are_readable(found: &Fields, wanted: &Fields) -> bool {
    let mut any = false;
    let readable = wanted.iter().all(|wanted| match found.find(wanted.name()) {
        Some((_, found)) => {
            any = true;
            is_readable_as(found.data_type(), wanted.data_type())
        }
        None => true,
    });
    readable && any
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn columns_are_found_in_any_case_but_exactly_first() {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let file = Schema::new(vec![field("ID"), field("Name"), field("name"), field("ÄGE")]);
        for (name, index) in [("id", Some(0)), ("name", Some(2)), ("äge", Some(3)), ("other", None)] {
            assert_eq!(find_column(&file, name), index, "{name}");
        }
    }

    #[test]
    fn types_that_hold_the_same_values_are_readable() {
        let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int32), Box::new(values));
        let list = |item| DataType::List(Arc::new(Field::new("element", item, true)));
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        for (found, wanted, readable) in [
            (DataType::Int32, DataType::Int64, true),
            (DataType::UInt32, DataType::Int64, true),
            (DataType::Int64, DataType::Int32, true),
            (DataType::Int32, DataType::Decimal128(10, 2), true),
            (DataType::Decimal128(15, 2), DataType::Decimal128(12, 2), true),
            (DataType::Float32, DataType::Float64, true),
            (DataType::Utf8View, DataType::Utf8, true),
            (DataType::Binary, DataType::Utf8, true),
            (dictionary(DataType::Utf8), DataType::Utf8, true),
            (micros, millis.clone(), true),
            (list(DataType::Int32), list(DataType::Int64), true),
            (list(DataType::Utf8), list(DataType::Int64), false),
            (DataType::Utf8, DataType::Int64, false),
            (DataType::Int64, DataType::Utf8, false),
            (DataType::Float64, DataType::Int64, false),
            (DataType::Int64, millis, false),
            (DataType::Boolean, DataType::Int32, false),
            (dictionary(DataType::Utf8), DataType::Int64, false),
        ] {
            assert_eq!(is_readable_as(&found, &wanted), readable, "{found} as {wanted}");
        }
    }
}
