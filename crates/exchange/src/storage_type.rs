//! The Arrow forms in which columns are written.
//!
//! Encodings that refer to data shared between batches are resolved before writing: dictionaries and runs
//! become plain values, views become offsets, so that a frame is compact and self-contained. The reader
//! restores the types of its schema.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

/// The schema that an operator sees, and the one that is written.
#[derive(Debug)]
pub(crate) struct StorageSchema {
    logical: SchemaRef,
    stored: SchemaRef,
    fingerprint: u32,
}

impl StorageSchema {
    pub(crate) fn new(logical: SchemaRef) -> Self {
        let fields = logical.fields().iter().map(|field| {
            // Nullability is the reader's affair: it is checked against its own schema.
            Field::new("", stored_type(field.data_type()), true)
        });
        let stored = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let fingerprint = stored.fields().iter().fold(0, |crc, field| fingerprint(crc, field.data_type()));
        StorageSchema { logical, stored, fingerprint }
    }

    pub(crate) fn logical(&self) -> &SchemaRef {
        &self.logical
    }

    pub(crate) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    /// A number that two schemas share when they are written in the same way.
    pub(crate) fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// The batch in the types in which it is written.
    pub(crate) fn to_stored(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if batch.num_columns() != self.logical.fields().len() {
            return Err(ArrowError::SchemaError(format!(
                "the batch has {} columns, the schema has {}",
                batch.num_columns(),
                self.logical.fields().len()
            )));
        }
        let fields = self.logical.fields().iter().zip(self.stored.fields()).zip(batch.columns());
        let columns = fields.map(|((logical, stored), column)| {
            let (expected, actual) = (logical.data_type(), column.data_type());
            if actual == stored.data_type() && expected == actual {
                Ok(Arc::clone(column))
            } else if expected.equals_datatype(actual) {
                cast(column, stored.data_type())
            } else {
                Err(ArrowError::SchemaError(format!("a column is {actual}, the schema says {expected}")))
            }
        });
        with_rows(&self.stored, columns.collect::<Result<_, _>>()?, batch.num_rows())
    }

    /// The rows of a batch as the operator's types. Several batches, where the keys of a dictionary would
    /// not suffice for one.
    pub(crate) fn to_logical(&self, batch: &RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut done = Vec::with_capacity(1);
        let mut open = vec![batch.clone()];
        while let Some(batch) = open.pop() {
            match self.to_one_logical(&batch) {
                Ok(batch) => done.push(batch),
                Err(ArrowError::DictionaryKeyOverflowError) if batch.num_rows() > 1 => {
                    let half = batch.num_rows() / 2;
                    open.push(batch.slice(half, batch.num_rows() - half));
                    open.push(batch.slice(0, half));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn to_one_logical(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = batch.columns().iter().zip(self.logical.fields()).map(|(column, field)| {
            let wanted = field.data_type();
            if column.data_type() == wanted { Ok(Arc::clone(column)) } else { cast(column, wanted) }
        });
        with_rows(&self.logical, columns.collect::<Result<_, _>>()?, batch.num_rows())
    }
}

/// A batch of so many rows, also without columns.
fn with_rows(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn stored_field(field: &FieldRef) -> FieldRef {
    let stored = stored_type(field.data_type());
    if stored == *field.data_type() {
        Arc::clone(field)
    } else {
        Arc::new(field.as_ref().clone().with_data_type(stored))
    }
}

fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => stored_type(values),
        DataType::RunEndEncoded(_, values) => stored_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(field) | DataType::ListView(field) => DataType::List(stored_field(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => {
            DataType::LargeList(stored_field(field))
        }
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(stored_field(field), *size),
        DataType::Map(field, sorted) => DataType::Map(stored_field(field), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(stored_field).collect::<Fields>()),
        other => other.clone(),
    }
}

/// Folds in what decides the layout of a type: not the names or nullability of nested fields.
fn fingerprint(crc: u32, data_type: &DataType) -> u32 {
    let open = |crc, text: &str| crc32c::crc32c_append(crc, text.as_bytes());
    match data_type {
        DataType::List(field) => fingerprint(open(crc, "list("), field.data_type()),
        DataType::LargeList(field) => fingerprint(open(crc, "large list("), field.data_type()),
        DataType::FixedSizeList(field, size) => {
            fingerprint(open(crc, &format!("fixed list {size}(")), field.data_type())
        }
        DataType::Map(field, _) => fingerprint(open(crc, "map("), field.data_type()),
        DataType::Struct(fields) => {
            let crc = open(crc, &format!("struct {}(", fields.len()));
            fields.iter().fold(crc, |crc, field| fingerprint(crc, field.data_type()))
        }
        plain => open(crc, &format!("{plain};")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, Int32Array, StringArray, StringViewArray};
    use arrow::datatypes::Int8Type;

    #[test]
    fn views_and_dictionaries_are_resolved_at_any_depth() {
        let inner =
            Field::new("x", DataType::Dictionary(DataType::Int32.into(), DataType::Utf8View.into()), true);
        let nested = DataType::List(Arc::new(Field::new("item", DataType::Struct(vec![inner].into()), true)));
        let expected = DataType::Struct(vec![Field::new("x", DataType::Utf8, true)].into());
        assert_eq!(stored_type(&nested), DataType::List(Arc::new(Field::new("item", expected, true))));
    }

    #[test]
    fn fingerprints_differ_where_layouts_do() {
        let of = |types: &[DataType]| {
            let fields: Vec<_> = types.iter().map(|t| Field::new("c", t.clone(), true)).collect();
            StorageSchema::new(Arc::new(Schema::new(fields))).fingerprint()
        };
        assert_ne!(of(&[DataType::Int64]), of(&[DataType::Float64]));
        assert_ne!(of(&[DataType::Int64, DataType::Utf8]), of(&[DataType::Utf8, DataType::Int64]));
        assert_eq!(of(&[DataType::Utf8]), of(&[DataType::Utf8View]));
        assert_ne!(of(&[]), of(&[DataType::Null]));
    }

    #[test]
    fn dictionary_keys_that_do_not_suffice_split_the_batch() {
        let kind = DataType::Dictionary(DataType::Int8.into(), DataType::Utf8.into());
        let schema = StorageSchema::new(Arc::new(Schema::new(vec![Field::new("c", kind, true)])));
        let words: Vec<String> = (0..300).map(|at| format!("word {at}")).collect();
        let stored =
            with_rows(schema.stored(), vec![Arc::new(StringArray::from(words.clone()))], 300).unwrap();
        let batches = schema.to_logical(&stored).unwrap();
        assert!(batches.len() > 1);
        let mut back = Vec::new();
        for batch in &batches {
            let column = batch.column(0).as_any().downcast_ref::<DictionaryArray<Int8Type>>().unwrap();
            let column = column.downcast_dict::<StringArray>().unwrap();
            back.extend(column.into_iter().map(|word| word.unwrap().to_string()));
        }
        assert_eq!(back, words);
    }

    #[test]
    fn a_batch_of_another_schema_is_refused() {
        let schema =
            StorageSchema::new(Arc::new(Schema::new(vec![Field::new("c", DataType::Utf8View, true)])));
        let numbers =
            RecordBatch::try_from_iter([("c", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
        assert!(schema.to_stored(&numbers).is_err());
        assert!(schema.to_stored(&numbers.project(&[]).unwrap()).is_err());
        let words =
            RecordBatch::try_from_iter([("c", Arc::new(StringViewArray::from(vec!["a"])) as ArrayRef)])
                .unwrap();
        assert_eq!(schema.to_stored(&words).unwrap().column(0).data_type(), &DataType::Utf8);
    }
}
