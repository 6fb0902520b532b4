//! Expected answers: reading them, and comparing results with them.

use std::io;
use std::path::Path;

use serde_json::Value;

/// An expected answer.
#[derive(Clone, Debug)]
pub struct Answer {
    rows: Vec<Vec<String>>,
    ordered: bool,
}

impl Answer {
    /// Reads a file whose first line describes it and whose other lines are rows of cells that end with `|`.
    ///
    /// # Errors
    /// Whatever keeps it from being read, and a first line that is none.
    pub fn read(path: &Path) -> io::Result<Answer> {
        let text = std::fs::read_to_string(path)?;
        let mut lines = text.lines();
        let description = lines.next().unwrap_or_default();
        if !description.starts_with("-- delimiter: |") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, description));
        }
        let rows = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let cells = line.strip_suffix('|').unwrap_or(line);
                cells.split('|').map(|cell| cell.trim_end().to_string()).collect()
            })
            .collect();
        Ok(Answer { rows, ordered: description.contains("ignoreOrder: false") })
    }

    /// What a query has given before, and should give again.
    pub fn given(result: &[Vec<Value>]) -> Answer {
        Answer { rows: texts(result), ordered: true }
    }

    /// What is wrong with a result, if anything.
    pub fn differs_from(&self, result: &[Vec<Value>]) -> Option<String> {
        let found = texts(result);
        if found.len() != self.rows.len() {
            return Some(format!("{} rows instead of {}", found.len(), self.rows.len()));
        }
        if self.ordered && self.rows.iter().zip(&found).all(|(expected, found)| same_row(expected, found)) {
            return None;
        }
        // Rows that tie under ORDER BY may come in any order.
        let mut left: Vec<&Vec<String>> = found.iter().collect();
        for expected in &self.rows {
            match left.iter().position(|found| same_row(expected, found)) {
                Some(at) => {
                    left.swap_remove(at);
                }
                None => {
                    return Some(format!("the row {expected:?} is missing; there is {:?}", left.first()));
                }
            }
        }
        None
    }
}

fn texts(rows: &[Vec<Value>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => text.trim_end().to_string(),
        other => other.to_string(),
    }
}

fn same_row(expected: &[String], found: &[String]) -> bool {
    expected.len() == found.len()
        && expected.iter().zip(found).all(|(expected, found)| same_cell(expected, found))
}

/// Numbers are compared at the precision of the file.
fn same_cell(expected: &str, found: &str) -> bool {
    if expected == found {
        return true;
    }
    let (Ok(expected_number), Ok(found_number)) = (expected.parse::<f64>(), found.parse::<f64>()) else {
        return false;
    };
    let digits = expected.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let rounding = if digits == 0 { 0.0 } else { 0.51 * 10f64.powi(-(digits as i32)) };
    (expected_number - found_number).abs() <= rounding.max(1e-9 * expected_number.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_at_the_precision_of_the_file() {
        assert!(same_cell("25.51", "25.509999"));
        assert!(!same_cell("25.51", "25.52"));
        assert!(!same_cell("25", "26"));
        assert!(same_cell("17538456.86", "17538456.8600"));
        assert!(!same_cell("abc", "abd"));
    }

    #[test]
    fn what_was_given_before_is_expected_in_any_order_of_rows() {
        let rows = |cells: [&str; 2]| cells.map(|cell| vec![Value::from(cell)]).to_vec();
        let answer = Answer::given(&rows(["1.50", "b"]));
        assert_eq!(answer.differs_from(&rows(["b", "1.50"])), None);
        assert!(answer.differs_from(&rows(["b", "1.51"])).unwrap().contains("1.50"));
        assert!(answer.differs_from(&[]).is_some());
    }
}
