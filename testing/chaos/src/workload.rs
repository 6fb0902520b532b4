//! The queries that are disturbed, and what they must give.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use serde_json::Value;
use steadfast::Failure;
use testing::{Answer, TpchQuery, tpch_query};

/// Joins and aggregations with several stages each.
const TPCH_NUMBERS: [usize; 4] = [5, 9, 18, 21];

/// A result of many pages, so that its client is reading for a while. Its lines are compared with the undisturbed run.
const LARGE: &str =
    "select o_orderkey, o_custkey, o_totalprice, o_clerk, o_comment from orders where o_custkey % 4 = 0";

/// A query, and what it must give.
#[derive(Clone, Debug)]
pub struct Query {
    /// What it is called in reports.
    pub name: String,
    /// Its text.
    pub text: String,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    Answer(Answer),
    /// The rows of the undisturbed run, once there was one.
    Digest(Option<Digest>),
}

/// How many rows, and a sum over all of them that does not depend on their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest {
    rows: usize,
    sum: u64,
}

impl Query {
    /// Q5, Q9, Q18 and Q21 of TPC-H, from what stands beside the checkout.
    pub fn tpch(directory: &Path) -> Result<Vec<Self>, Failure> {
        let query = |number: &usize| {
            let TpchQuery { text, answer, .. } = tpch_query(directory, *number)?;
            Ok(Query { name: format!("q{number:02}"), text, expected: Expected::Answer(answer) })
        };
        TPCH_NUMBERS.iter().map(query).collect()
    }

    /// A query whose result has many pages.
    pub fn large() -> Self {
        Query { name: "large".to_string(), text: LARGE.to_string(), expected: Expected::Digest(None) }
    }

    /// Learns from the first undisturbed run what is expected, where no file says it.
    pub fn learn(&mut self, rows: &[Vec<Value>]) {
        if let Expected::Digest(expected) = &mut self.expected {
            expected.get_or_insert_with(|| Digest::of(rows));
        }
    }

    /// What is wrong with a result, if anything.
    pub fn differs_from(&self, rows: &[Vec<Value>]) -> Option<String> {
        match &self.expected {
            Expected::Answer(answer) => answer.differs_from(rows),
            Expected::Digest(None) => Some("nothing is known of its answer".to_string()),
            Expected::Digest(Some(expected)) => {
                let found = Digest::of(rows);
                (found != *expected).then(|| format!("{found:?} instead of {expected:?}"))
            }
        }
    }
}

impl Digest {
    fn of(rows: &[Vec<Value>]) -> Self {
        let hash = |row: &Vec<Value>| {
            let mut hasher = DefaultHasher::new();
            row.iter().for_each(|cell| cell.to_string().hash(&mut hasher));
            hasher.finish()
        };
        Digest { rows: rows.len(), sum: rows.iter().map(hash).fold(0, u64::wrapping_add) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_sees_what_is_lost_repeated_or_changed_but_no_order() {
        let rows = |keys: &[i64]| keys.iter().map(|key| vec![json!(key), json!("text")]).collect::<Vec<_>>();
        let mut query = Query::large();
        assert!(query.differs_from(&rows(&[1])).is_some(), "nothing was learned yet");
        query.learn(&rows(&[1, 2, 3]));
        assert_eq!(query.differs_from(&rows(&[3, 1, 2])), None);
        for other in [&[1, 2][..], &[1, 2, 3, 3], &[1, 2, 4]] {
            assert!(query.differs_from(&rows(other)).is_some(), "{other:?}");
        }
    }
}
