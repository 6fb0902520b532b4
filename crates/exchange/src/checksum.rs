//! An order-independent checksum of rows.
//!
//! Every row is hashed over its columns, and the hashes are added up. The sum does not depend on the order
//! of rows, on how they were cut into batches, or on their encoding, so that it tells whether a task that
//! ran again made the same rows.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::DataType;

const SEED: u64 = 0x243f_6a88_85a3_08d3;
const NULL: u64 = 0x1319_8a2e_0370_7344;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The wrapping sum of the hashes of all rows.
pub(crate) fn checksum(batch: &RecordBatch) -> u64 {
    hash_rows(batch.columns(), batch.num_rows()).into_iter().fold(0, u64::wrapping_add)
}

fn hash_rows(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut hashes = vec![SEED; rows];
    for column in columns {
        fold_column(&mut hashes, column);
    }
    hashes
}

fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value ^ FACTOR) * u128::from(FACTOR | 1);
    (product as u64 ^ (product >> 64) as u64).rotate_left(23)
}

fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(hash, bytes.len() as u64);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map(u64::from_le_bytes).unwrap_or_default();
        hash = mix(hash, word);
    }
    let rest = words.remainder();
    if rest.is_empty() {
        return hash;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash, u64::from_le_bytes(last))
}

/// Folds the values of a column into the hashes, by a function of the index of a row that is not null.
fn fold_values(hashes: &mut [u64], column: &dyn Array, mut fold: impl FnMut(u64, usize) -> u64) {
    let rows = hashes.iter_mut().enumerate();
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => rows.for_each(|(row, hash)| *hash = fold(*hash, row)),
        Some(nulls) => {
            rows.for_each(|(row, hash)| {
                *hash = if nulls.is_null(row) { mix(*hash, NULL) } else { fold(*hash, row) };
            });
        }
    }
}

fn fold_column(hashes: &mut [u64], column: &ArrayRef) {
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            fold_values(hashes, column, |hash, row| mix(hash, u64::from(values.value(row))));
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            fold_values(hashes, column, |hash, row| mix_bytes(hash, values.value(row).as_bytes()));
        }
        DataType::LargeUtf8 => {
            let values = column.as_string::<i64>();
            fold_values(hashes, column, |hash, row| mix_bytes(hash, values.value(row).as_bytes()));
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            fold_values(hashes, column, |hash, row| mix_bytes(hash, values.value(row)));
        }
        DataType::LargeBinary => {
            let values = column.as_binary::<i64>();
            fold_values(hashes, column, |hash, row| mix_bytes(hash, values.value(row)));
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            fold_values(hashes, column, |hash, row| mix_bytes(hash, values.value(row)));
        }
        DataType::Struct(_) => {
            let values = hash_rows(column.as_struct().columns(), column.len());
            fold_values(hashes, column, |hash, row| mix(hash, values[row]));
        }
        DataType::List(_) => fold_lists::<i32>(hashes, column, column.as_list::<i32>().values(), |row| {
            let offsets = column.as_list::<i32>().value_offsets();
            (offsets[row], offsets[row + 1])
        }),
        DataType::LargeList(_) => {
            fold_lists::<i64>(hashes, column, column.as_list::<i64>().values(), |row| {
                let offsets = column.as_list::<i64>().value_offsets();
                (offsets[row], offsets[row + 1])
            })
        }
        DataType::Map(_, _) => {
            let map = column.as_map();
            let offsets = map.value_offsets();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            fold_lists::<i32>(hashes, column, &entries, |row| (offsets[row], offsets[row + 1]));
        }
        DataType::FixedSizeList(_, size) => {
            let list = column.as_fixed_size_list();
            fold_lists::<i32>(hashes, column, list.values(), |row| {
                let start = list.value_offset(row);
                (start, start + size)
            });
        }
        fixed => match fixed.primitive_width() {
            Some(width) => fold_fixed_width(hashes, column, width),
            // The types that are left, NULL among them, count by their being there alone.
            None => hashes.iter_mut().for_each(|hash| *hash = mix(*hash, NULL)),
        },
    }
}

fn fold_fixed_width(hashes: &mut [u64], column: &ArrayRef, width: usize) {
    let data = column.to_data();
    let values = data.buffers().first().map(|buffer| buffer.as_slice()).unwrap_or_default();
    let values = values.get(data.offset() * width..).unwrap_or_default();
    match width {
        4 => fold_words(hashes, column, values.as_chunks().0, |[a, b, c, d]| {
            [u32::from_le_bytes([a, b, c, d]).into()]
        }),
        8 => fold_words(hashes, column, values.as_chunks().0, |value| [u64::from_le_bytes(value)]),
        16 => fold_words(hashes, column, values.as_chunks().0, |value| {
            let value = u128::from_le_bytes(value);
            [value as u64, (value >> 64) as u64]
        }),
        _ => fold_values(hashes, column, |hash, row| {
            let bytes = values.get(row * width..(row + 1) * width).unwrap_or_default();
            bytes.chunks(8).fold(hash, |hash, chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                mix(hash, u64::from_le_bytes(word))
            })
        }),
    }
}

/// Folds values of a width that is common, as words.
fn fold_words<const WIDTH: usize, const WORDS: usize>(
    hashes: &mut [u64],
    column: &ArrayRef,
    values: &[[u8; WIDTH]],
    words: impl Fn([u8; WIDTH]) -> [u64; WORDS],
) {
    let fold = |hash, value| words(value).into_iter().fold(hash, mix);
    if column.null_count() > 0 {
        return fold_values(hashes, column, |hash, row| fold(hash, values[row]));
    }
    for (hash, value) in hashes.iter_mut().zip(values) {
        *hash = fold(*hash, *value);
    }
}

fn fold_lists<O: OffsetSizeTrait>(
    hashes: &mut [u64],
    column: &ArrayRef,
    values: &ArrayRef,
    range: impl Fn(usize) -> (O, O),
) {
    let elements = hash_rows(std::slice::from_ref(values), values.len());
    fold_values(hashes, column, |hash, row| {
        let (start, end) = range(row);
        let elements = elements.get(start.as_usize()..end.as_usize()).unwrap_or_default();
        elements.iter().fold(mix(hash, elements.len() as u64), |hash, element| mix(hash, *element))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;
    use std::sync::Arc;

    fn batch(numbers: &[Option<i64>], words: &[&str]) -> RecordBatch {
        let lists = numbers.iter().map(|number| number.map(|n| vec![Some(n as i32), None]));
        RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef),
            ("w", Arc::new(StringArray::from(words.to_vec())) as ArrayRef),
            ("l", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn the_order_of_rows_and_batches_does_not_matter() {
        let whole = batch(&[Some(1), None, Some(3)], &["a", "b", "long enough for two words"]);
        let turned = batch(&[Some(3), Some(1), None], &["long enough for two words", "a", "b"]);
        assert_eq!(checksum(&whole), checksum(&turned));
        let parts = checksum(&whole.slice(0, 1)).wrapping_add(checksum(&whole.slice(1, 2)));
        assert_eq!(checksum(&whole), parts);
    }

    #[test]
    fn any_other_row_changes_it() {
        let sum = checksum(&batch(&[Some(1), None], &["a", "b"]));
        assert_ne!(sum, checksum(&batch(&[Some(1), Some(0)], &["a", "b"])));
        assert_ne!(sum, checksum(&batch(&[None, Some(1)], &["a", "b"])));
        assert_ne!(sum, checksum(&batch(&[Some(1), None], &["a", ""])));
        assert_ne!(sum, checksum(&batch(&[Some(1)], &["a"])));
    }
}
