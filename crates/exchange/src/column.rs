//! Columns that grow by chosen rows of batches.
//!
//! A hash sink gives each partition a few rows of every batch. Each of its columns is therefore copied once, straight
//! to where the next frame of the partition is made, instead of into small arrays that are put together later.

use arrow::array::{
    Array, ArrayData, ArrayRef, BooleanBufferBuilder, NullBufferBuilder, OffsetSizeTrait, UInt32Array,
    make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{ArrowNativeType, DataType, i256};
use arrow::error::ArrowError;

/// Which rows of a batch are added.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    /// All of them.
    All,
    /// Those of these numbers, in this order.
    Chosen(&'a [u32]),
}

/// So many arrays of a type that is not copied value by value are put together, so that they do not stay tiny.
const FAN_IN: usize = 16;

/// What an array costs beside its buffers, in bytes.
const ARRAY_OVERHEAD_BYTES: u64 = 64;

/// A column of a batch, ready to be copied from.
#[derive(Debug)]
pub(crate) struct Column {
    array: ArrayRef,
    data: ArrayData,
    nulls: Option<NullBuffer>,
}

impl Column {
    pub(crate) fn new(array: &ArrayRef) -> Self {
        Column {
            array: ArrayRef::clone(array),
            data: array.to_data(),
            nulls: array.nulls().filter(|nulls| nulls.null_count() > 0).cloned(),
        }
    }

    /// The values of a column whose type has the width of `T`.
    fn values<T: ArrowNativeType>(&self) -> &[T] {
        &self.data.buffer::<T>(0)[..self.data.len()]
    }

    fn offsets<O: OffsetSizeTrait>(&self) -> &[O] {
        // Without rows there may be no offsets at all.
        if self.data.is_empty() { &[] } else { &self.data.buffer::<O>(0)[..=self.data.len()] }
    }

    fn bytes(&self) -> &[u8] {
        self.data.buffers()[1].as_slice()
    }
}

/// A column that grows.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    values: Values,
    nulls: NullBufferBuilder,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBufferBuilder),
    Width1(Vec<i8>),
    Width2(Vec<i16>),
    Width4(Vec<i32>),
    Width8(Vec<i64>),
    Width16(Vec<i128>),
    Width32(Vec<i256>),
    Bytes(Bytes<i32>),
    LargeBytes(Bytes<i64>),
    /// Nested and rare types.
    Arrays(Arrays),
}

impl ColumnBuilder {
    pub(crate) fn new(data_type: &DataType) -> Self {
        use DataType::{
            Binary, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Duration, Float16,
            Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Time32, Time64, Timestamp,
            UInt8, UInt16, UInt32, UInt64, Utf8,
        };
        let values = match data_type {
            Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            Int8 | UInt8 => Values::Width1(Vec::new()),
            Int16 | UInt16 | Float16 => Values::Width2(Vec::new()),
            Int32 | UInt32 | Float32 | Date32 | Time32(_) | Decimal32(..) => Values::Width4(Vec::new()),
            Int64 | UInt64 | Float64 | Date64 | Time64(_) | Timestamp(..) | Duration(_) | Decimal64(..) => {
                Values::Width8(Vec::new())
            }
            Decimal128(..) => Values::Width16(Vec::new()),
            Decimal256(..) => Values::Width32(Vec::new()),
            Utf8 | Binary => Values::Bytes(Bytes::default()),
            LargeUtf8 | LargeBinary => Values::LargeBytes(Bytes::default()),
            _ => Values::Arrays(Arrays::default()),
        };
        ColumnBuilder { values, nulls: NullBufferBuilder::new(0) }
    }

    /// Adds rows of a column of the builder's type.
    pub(crate) fn append(&mut self, column: &Column, rows: Rows<'_>) -> Result<(), ArrowError> {
        match &mut self.values {
            Values::Boolean(values) => append_bits(values, column, rows),
            Values::Width1(values) => append_values(values, column, rows),
            Values::Width2(values) => append_values(values, column, rows),
            Values::Width4(values) => append_values(values, column, rows),
            Values::Width8(values) => append_values(values, column, rows),
            Values::Width16(values) => append_values(values, column, rows),
            Values::Width32(values) => append_values(values, column, rows),
            Values::Bytes(values) => values.append(column, rows)?,
            Values::LargeBytes(values) => values.append(column, rows)?,
            // These have their nulls with them.
            Values::Arrays(arrays) => return arrays.append(column, rows),
        }
        append_nulls(&mut self.nulls, column, rows);
        Ok(())
    }

    /// The memory that it holds, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        let bytes = match &self.values {
            Values::Boolean(values) => values.capacity() / 8,
            Values::Width1(values) => size_in_memory(values),
            Values::Width2(values) => size_in_memory(values),
            Values::Width4(values) => size_in_memory(values),
            Values::Width8(values) => size_in_memory(values),
            Values::Width16(values) => size_in_memory(values),
            Values::Width32(values) => size_in_memory(values),
            Values::Bytes(values) => values.held_bytes(),
            Values::LargeBytes(values) => values.held_bytes(),
            Values::Arrays(arrays) => return arrays.bytes,
        };
        (bytes + self.nulls.allocated_size()) as u64
    }

    /// The column of all rows that were added; the builder is empty then.
    pub(crate) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        let buffers = match &mut self.values {
            Values::Boolean(values) => {
                let values: BooleanBuffer = values.finish();
                return of_buffers(data_type, values.len(), vec![values.into_inner()], nulls);
            }
            Values::Width1(values) => taken(values),
            Values::Width2(values) => taken(values),
            Values::Width4(values) => taken(values),
            Values::Width8(values) => taken(values),
            Values::Width16(values) => taken(values),
            Values::Width32(values) => taken(values),
            Values::Bytes(values) => values.take(),
            Values::LargeBytes(values) => values.take(),
            Values::Arrays(arrays) => return arrays.finish(data_type),
        };
        of_buffers(data_type, buffers.0, buffers.1, nulls)
    }
}

/// The number of rows, and the buffers.
type Buffers = (usize, Vec<Buffer>);

fn of_buffers(
    data_type: &DataType,
    rows: usize,
    buffers: Vec<Buffer>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let data = ArrayData::builder(data_type.clone()).len(rows).buffers(buffers).nulls(nulls).build()?;
    Ok(make_array(data))
}

fn size_in_memory<T>(values: &Vec<T>) -> usize {
    values.capacity() * size_of::<T>()
}

fn taken<T: ArrowNativeType>(values: &mut Vec<T>) -> Buffers {
    let values = std::mem::take(values);
    (values.len(), vec![Buffer::from_vec(values)])
}

fn append_values<T: ArrowNativeType>(to: &mut Vec<T>, column: &Column, rows: Rows<'_>) {
    let values = column.values::<T>();
    match rows {
        Rows::All => to.extend_from_slice(values),
        Rows::Chosen(rows) => to.extend(rows.iter().map(|row| values[*row as usize])),
    }
}

fn append_bits(to: &mut BooleanBufferBuilder, column: &Column, rows: Rows<'_>) {
    let (start, length) = (column.data.offset(), column.data.len());
    let bits = BooleanBuffer::new(column.data.buffers()[0].clone(), start, length);
    match rows {
        Rows::All => to.append_buffer(&bits),
        Rows::Chosen(rows) => rows.iter().for_each(|row| to.append(bits.value(*row as usize))),
    }
}

fn append_nulls(to: &mut NullBufferBuilder, column: &Column, rows: Rows<'_>) {
    match (&column.nulls, rows) {
        (None, Rows::All) => to.append_n_non_nulls(column.data.len()),
        (None, Rows::Chosen(rows)) => to.append_n_non_nulls(rows.len()),
        (Some(nulls), Rows::All) => to.append_buffer(nulls),
        (Some(nulls), Rows::Chosen(rows)) => {
            rows.iter().for_each(|row| to.append(nulls.is_valid(*row as usize)));
        }
    }
}

/// Texts or bytes, one after the other.
#[derive(Debug, Default)]
struct Bytes<O> {
    /// Where each value ends.
    ends: Vec<O>,
    bytes: Vec<u8>,
}

impl<O: OffsetSizeTrait> Bytes<O> {
    fn append(&mut self, column: &Column, rows: Rows<'_>) -> Result<(), ArrowError> {
        let (offsets, bytes) = (column.offsets::<O>(), column.bytes());
        match rows {
            Rows::All => {
                let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Ok(()) };
                let (first, last) = (first.as_usize(), last.as_usize());
                let start = self.bytes.len();
                // All ends fit if the last does.
                end::<O>(start + (last - first))?;
                self.bytes.extend_from_slice(&bytes[first..last]);
                self.ends.reserve(offsets.len());
                for offset in &offsets[1..] {
                    self.ends.push(O::usize_as(start + (offset.as_usize() - first)));
                }
            }
            Rows::Chosen(rows) => {
                self.ends.reserve(rows.len());
                for row in rows {
                    let row = *row as usize;
                    self.bytes
                        .extend_from_slice(&bytes[offsets[row].as_usize()..offsets[row + 1].as_usize()]);
                    self.ends.push(end(self.bytes.len())?);
                }
            }
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        size_in_memory(&self.ends) + self.bytes.capacity()
    }

    fn take(&mut self) -> Buffers {
        let (ends, bytes) = (std::mem::take(&mut self.ends), std::mem::take(&mut self.bytes));
        let mut offsets = Vec::with_capacity(ends.len() + 1);
        offsets.push(O::default());
        offsets.extend_from_slice(&ends);
        (ends.len(), vec![Buffer::from_vec(offsets), Buffer::from_vec(bytes)])
    }
}

fn end<O: OffsetSizeTrait>(position: usize) -> Result<O, ArrowError> {
    O::from_usize(position).ok_or(ArrowError::OffsetOverflowError(position))
}

/// Arrays that are put together at the end, and now and then before.
#[derive(Debug, Default)]
struct Arrays {
    /// With each how often its rows were put together already.
    arrays: Vec<(ArrayRef, u8)>,
    bytes: u64,
}

impl Arrays {
    fn append(&mut self, column: &Column, rows: Rows<'_>) -> Result<(), ArrowError> {
        let copy = match rows {
            // Concatenation with nothing copies; with one array alone it would keep what the array shares with others.
            Rows::All => concat(&[column.array.as_ref(), column.array.slice(0, 0).as_ref()])?,
            Rows::Chosen(rows) => {
                take(column.array.as_ref(), &UInt32Array::from_iter_values(rows.iter().copied()), None)?
            }
        };
        self.push(copy, 0);
        while let Some(level) = self.full_level() {
            let merged = self.arrays.split_off(self.arrays.len() - FAN_IN);
            self.bytes -= merged.iter().map(|(array, _)| array_bytes(array)).sum::<u64>();
            self.push(together(&merged)?, level + 1);
        }
        Ok(())
    }

    fn push(&mut self, array: ArrayRef, level: u8) {
        self.bytes += array_bytes(&array);
        self.arrays.push((array, level));
    }

    /// The level of the last [`FAN_IN`] arrays, if it is one.
    fn full_level(&self) -> Option<u8> {
        let (_, last) = self.arrays.last()?;
        let start = self.arrays.len().checked_sub(FAN_IN)?;
        self.arrays[start..].iter().all(|(_, level)| level == last).then_some(*last)
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        self.bytes = 0;
        let arrays = std::mem::take(&mut self.arrays);
        if arrays.is_empty() { Ok(arrow::array::new_empty_array(data_type)) } else { together(&arrays) }
    }
}

fn together(arrays: &[(ArrayRef, u8)]) -> Result<ArrayRef, ArrowError> {
    concat(&arrays.iter().map(|(array, _)| array.as_ref()).collect::<Vec<_>>())
}

fn array_bytes(array: &ArrayRef) -> u64 {
    array.get_array_memory_size() as u64 + ARRAY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
        Float64Array, Int8Array, Int16Array, Int64Array, IntervalMonthDayNanoArray, LargeStringArray,
        ListArray, NullArray, StringArray, StructArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Int32Type, IntervalMonthDayNano};

    const ROWS: usize = 100;

    /// A column of every layout, with and without NULL.
    fn columns() -> Vec<ArrayRef> {
        let numbers = || (0..ROWS as i64).map(|n| (n % 7 != 0).then_some(n * 1_000_003 - 50));
        let words = || numbers().map(|n| n.map(|n| "x".repeat((n % 13) as usize)));
        let lists = (0..ROWS as i32).map(|n| (n % 5 != 0).then(|| vec![Some(n), None]));
        let interval = |n: i64| IntervalMonthDayNano::new(n as i32, 1, n);
        let plain: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
        let fields = vec![Arc::new(Field::new("a", DataType::Int64, true))];
        let record = StructArray::new(fields.into(), vec![Arc::clone(&plain)], None);
        let fixed = (0..ROWS).map(|n| Some([n as u8; 3]));
        vec![
            plain,
            Arc::new(Int64Array::from_iter(numbers())),
            Arc::new(Int8Array::from_iter(numbers().map(|n| n.map(|n| n as i8)))),
            Arc::new(Int16Array::from_iter(numbers().map(|n| n.map(|n| n as i16)))),
            Arc::new(Date32Array::from_iter(numbers().map(|n| n.map(|n| n as i32)))),
            Arc::new(Float64Array::from_iter(numbers().map(|n| n.map(|n| n as f64)))),
            Arc::new(TimestampMicrosecondArray::from_iter(numbers()).with_timezone("UTC")),
            Arc::new(Decimal128Array::from_iter(numbers().map(|n| n.map(i128::from)))),
            Arc::new(Decimal256Array::from_iter(numbers().map(|n| n.map(i256::from)))),
            Arc::new(BooleanArray::from_iter(numbers().map(|n| n.map(|n| n % 2 == 0)))),
            Arc::new(StringArray::from_iter(words())),
            Arc::new(LargeStringArray::from_iter(words())),
            Arc::new(BinaryArray::from_iter(words().map(|word| word.map(String::into_bytes)))),
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 3).unwrap()),
            Arc::new(IntervalMonthDayNanoArray::from_iter(numbers().map(|n| n.map(interval)))),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
            Arc::new(record),
            Arc::new(NullArray::new(ROWS)),
        ]
    }

    #[test]
    fn every_layout_grows_by_whole_slices_and_by_chosen_rows() {
        for array in columns() {
            let mut builder = ColumnBuilder::new(array.data_type());
            for _ in 0..2 {
                let slice = array.slice(3, 60);
                builder.append(&Column::new(&slice), Rows::All).unwrap();
                builder.append(&Column::new(&slice), Rows::Chosen(&[59, 0, 7, 7])).unwrap();
                builder.append(&Column::new(&array.slice(20, 1)), Rows::All).unwrap();
                assert!(builder.held_bytes() > 0 || array.data_type() == &DataType::Null);
                let expected: Vec<u32> = (3..63).chain([62, 3, 10, 10, 20]).collect();
                let expected = take(&array, &UInt32Array::from(expected), None).unwrap();
                assert_eq!(&builder.finish(array.data_type()).unwrap(), &expected, "{}", array.data_type());
            }
            assert_eq!(builder.finish(array.data_type()).unwrap().len(), 0);
        }
    }

    #[test]
    fn arrays_that_are_not_copied_value_by_value_do_not_stay_tiny() {
        let mut builder = ColumnBuilder::new(columns()[15].data_type());
        for row in 0..1_000 {
            builder.append(&Column::new(&columns()[15]), Rows::Chosen(&[row % ROWS as u32])).unwrap();
        }
        let Values::Arrays(arrays) = &builder.values else { panic!("lists are such") };
        assert!(arrays.arrays.len() < 3 * FAN_IN);
        assert_eq!(builder.finish(columns()[15].data_type()).unwrap().len(), 1_000);
        assert_eq!(builder.held_bytes(), 0);
    }
}
