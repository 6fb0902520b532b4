//! Comparison of results.

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Floating-point results may differ by the order in which they were added up.
const RELATIVE_TOLERANCE: f64 = 1e-9;

#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Float(f64),
}

pub type Row = Vec<Cell>;

pub fn rows_of(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<Vec<Cell>> = batch.columns().iter().map(cells).collect();
        rows.extend(
            (0..batch.num_rows()).map(|at| columns.iter().map(|column| column[at].clone()).collect()),
        );
    }
    rows
}

fn cells(column: &ArrayRef) -> Vec<Cell> {
    if matches!(column.data_type(), DataType::Float32 | DataType::Float64) {
        let column = cast(column, &DataType::Float64).unwrap();
        let column = column.as_any().downcast_ref::<Float64Array>().unwrap();
        return column.iter().map(|value| value.map_or(Cell::Text("NULL".into()), Cell::Float)).collect();
    }
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len()).map(|at| Cell::Text(formatter.value(at).to_string())).collect()
}

/// Sorts rows by their exact cells first, so that rows of two results meet whatever their last digits are.
pub fn sort(rows: &mut [Row]) {
    let exact = |row: &Row| -> Vec<String> {
        row.iter()
            .map(|cell| if let Cell::Text(text) = cell { text.clone() } else { String::new() })
            .collect()
    };
    let floats = |row: &Row| -> Vec<f64> {
        row.iter()
            .filter_map(|cell| if let Cell::Float(value) = cell { Some(*value) } else { None })
            .collect()
    };
    rows.sort_by(|one, other| {
        exact(one).cmp(&exact(other)).then_with(|| floats(one).partial_cmp(&floats(other)).unwrap())
    });
}

pub fn assert_same(name: &str, found: &[Row], expected: &[Row]) {
    assert_eq!(found.len(), expected.len(), "{name}: number of rows\nfound {found:?}\nexpected {expected:?}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same =
            found.len() == expected.len() && found.iter().zip(expected).all(|(one, other)| close(one, other));
        assert!(same, "{name}: row {at}\nfound    {found:?}\nexpected {expected:?}");
    }
}

fn close(one: &Cell, other: &Cell) -> bool {
    match (one, other) {
        (Cell::Float(one), Cell::Float(other)) => {
            one == other || (one - other).abs() <= RELATIVE_TOLERANCE * one.abs().max(other.abs())
        }
        _ => one == other,
    }
}
