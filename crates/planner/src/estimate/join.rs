//! How many rows joins give.

use datafusion::common::JoinType;

use super::{ColumnEstimate, Estimate};

/// The columns of a pair of keys, by their places on the two sides. None where a key is no plain column.
pub(crate) type KeyColumns = (Option<usize>, Option<usize>);

/// A second pair of keys says much of what the first has said already: only this power of it counts.
const FURTHER_KEY_EXPONENT: f64 = 0.25;

/// An anti join keeps at least this part of the rows: that every row has a partner is seldom meant.
pub(crate) const ANTI_MIN: f64 = 0.1;

/// The part of the rows that find a partner by keys of which nothing is known.
pub(crate) const UNKNOWN_MATCH: f64 = 0.5;

/// How many values two columns that are compared have between them.
///
/// What was counted is believed. Of bounds the lesser is better: the greater is that of the side that refers to the
/// other more than once.
pub(crate) fn common_domain(one: &ColumnEstimate, other: &ColumnEstimate) -> f64 {
    match (one.counted, other.counted) {
        (true, true) => one.domain.max(other.domain),
        (true, false) => one.domain,
        (false, true) => other.domain,
        (false, false) => one.domain.min(other.domain),
    }
}

/// By what the product of the rows of both sides is divided, given the domain of each pair of keys.
pub(crate) fn keys_divisor(mut domains: Vec<f64>) -> f64 {
    domains.sort_by(|one, other| other.total_cmp(one));
    let mut domains = domains.into_iter();
    let first = domains.next().unwrap_or(1.0);
    domains.fold(first, |divisor, domain| divisor * domain.powf(FURTHER_KEY_EXPONENT))
}

/// The part of the rows on the one side that have a partner on the other, given the columns of the keys, how many
/// rows the other side has, and what part of the pairs a filter keeps.
pub(crate) fn match_fraction(
    keys: &[(&ColumnEstimate, &ColumnEstimate)],
    other_rows: f64,
    filter_fraction: f64,
) -> f64 {
    let mut has_key: f64 = 1.0;
    let mut partners = other_rows;
    for (own, other) in keys {
        // What conditions have left of its values, and what part of all values it had before.
        let left = other.distinct / other.domain;
        has_key = has_key.min(left * (other.domain / common_domain(own, other)).min(1.0));
        partners = partners.min(other_rows / other.distinct);
    }
    let passes = 1.0 - (1.0 - filter_fraction.clamp(0.0, 1.0)).powf(partners.max(1.0));
    (has_key * passes).clamp(0.0, 1.0)
}

/// The rows of a join. `filter_fraction` is the part of the pairs with equal keys that its filter keeps.
pub(crate) fn joined(
    left: &Estimate,
    right: &Estimate,
    keys: &[KeyColumns],
    filter_fraction: f64,
    join_type: JoinType,
) -> Estimate {
    match join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            matched(left, right, keys, filter_fraction, join_type)
        }
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            let keys: Vec<KeyColumns> = keys.iter().map(|(left, right)| (*right, *left)).collect();
            matched(right, left, &keys, filter_fraction, join_type)
        }
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            let inner = inner(left, right, keys, filter_fraction);
            let rows = match join_type {
                JoinType::Left => inner.rows.max(left.rows),
                JoinType::Right => inner.rows.max(right.rows),
                JoinType::Full => inner.rows.max(left.rows).max(right.rows),
                _ => inner.rows,
            };
            Estimate { rows, ..inner }
        }
    }
}

fn matched(
    own: &Estimate,
    other: &Estimate,
    keys: &[KeyColumns],
    filter_fraction: f64,
    join_type: JoinType,
) -> Estimate {
    let columns: Vec<_> = keys
        .iter()
        .filter_map(|(left, right)| Some((own.columns.get((*left)?)?, other.columns.get((*right)?)?)))
        .collect();
    let fraction = if columns.len() < keys.len() {
        UNKNOWN_MATCH
    } else {
        match_fraction(&columns, other.rows, filter_fraction)
    };
    match join_type {
        JoinType::LeftSemi | JoinType::RightSemi => own.clone().part(fraction),
        JoinType::LeftAnti | JoinType::RightAnti => own.clone().part((1.0 - fraction).max(ANTI_MIN)),
        _ => {
            let mut marked = own.clone();
            let mark = ColumnEstimate::unknown(&arrow::datatypes::DataType::Boolean, own.rows);
            marked.columns.push(mark);
            marked
        }
    }
}

fn inner(left: &Estimate, right: &Estimate, keys: &[KeyColumns], filter_fraction: f64) -> Estimate {
    let domain = |(one, other): &KeyColumns| {
        let known = one.and_then(|one| left.columns.get(one));
        match known.zip(other.and_then(|other| right.columns.get(other))) {
            Some((one, other)) => common_domain(one, other),
            // A key that refers to a row of the side that has fewer.
            None => left.rows.min(right.rows),
        }
    };
    let domains: Vec<f64> = keys.iter().map(domain).collect();
    let rows = (left.rows * right.rows / keys_divisor(domains.clone()) * filter_fraction).max(1.0);

    let mut columns = Vec::with_capacity(left.columns.len() + right.columns.len());
    columns.extend(left.clone().at_most(rows).columns);
    columns.extend(right.clone().at_most(rows).columns);
    for ((one, other), domain) in keys.iter().zip(domains) {
        let (Some(one), Some(other)) = (one, other.map(|other| other + left.columns.len())) else {
            continue;
        };
        let (Some(first), Some(second)) = (columns.get(*one), columns.get(other)) else {
            continue;
        };
        let distinct = first.distinct.min(second.distinct);
        let counted = first.counted || second.counted;
        for index in [*one, other] {
            let column = &mut columns[index];
            (column.distinct, column.domain, column.counted, column.nulls) = (distinct, domain, counted, 0.0);
        }
    }
    Estimate { rows, columns }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    /// Rows with one column of so many values, counted or bounded.
    fn side(rows: f64, values: f64, counted: bool) -> Estimate {
        let column = ColumnEstimate::unknown(&DataType::Int64, rows);
        Estimate {
            rows,
            columns: vec![ColumnEstimate { distinct: values, domain: values, counted, ..column }],
        }
    }

    fn rows(left: &Estimate, right: &Estimate, join_type: JoinType) -> f64 {
        joined(left, right, &[(Some(0), Some(0))], 1.0, join_type).rows.round()
    }

    #[test]
    fn each_row_that_refers_to_a_key_is_joined_once() {
        // Four lines of each of a thousand orders, whether values were counted or not.
        for counted in [true, false] {
            let lines = side(4000.0, if counted { 1000.0 } else { 4000.0 }, counted);
            let orders = side(1000.0, 1000.0, counted);
            assert_eq!(rows(&lines, &orders, JoinType::Inner), 4000.0);
            let tenth = orders.part(0.1);
            assert_eq!(rows(&lines, &tenth, JoinType::Inner), 400.0);
            assert_eq!(rows(&lines, &tenth, JoinType::Left), 4000.0);
            assert_eq!(rows(&lines, &tenth, JoinType::LeftSemi), 400.0);
            assert_eq!(rows(&tenth, &lines, JoinType::RightSemi), 400.0);
            assert_eq!(rows(&lines, &tenth, JoinType::LeftAnti), 3600.0);
            assert_eq!(rows(&lines, &tenth, JoinType::LeftMark), 4000.0);
        }
    }

    #[test]
    fn further_keys_count_for_less() {
        assert_eq!(keys_divisor(vec![10_000.0, 200_000.0]), 2_000_000.0);
        assert_eq!(keys_divisor(Vec::new()), 1.0);
    }

    #[test]
    fn an_anti_join_never_keeps_nothing() {
        let side = side(1000.0, 1000.0, true);
        assert_eq!(rows(&side, &side, JoinType::LeftAnti), 100.0);
    }
}
