//! Query ids, one after another.

use std::sync::Mutex;

use base::QueryId;
use chrono::{DateTime, Utc};
use rand::Rng;

/// Gives out query ids of one coordinator life.
pub struct QueryIds {
    coordinator: String,
    last: Mutex<(i64, u32)>,
}

const SUFFIX_ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
const SUFFIX_LENGTH: usize = 5;
const COUNTER_MAX: u32 = 99_999;

impl QueryIds {
    /// Ids of a new coordinator life.
    pub fn new() -> Self {
        let mut rng = rand::rng();
        let coordinator = (0..SUFFIX_LENGTH)
            .map(|_| char::from(SUFFIX_ALPHABET[rng.random_range(0..SUFFIX_ALPHABET.len())]))
            .collect();
        QueryIds { coordinator, last: Mutex::new((0, 0)) }
    }

    /// The name of this coordinator life: the end of every id.
    pub fn coordinator_id(&self) -> &str {
        &self.coordinator
    }

    /// The next id. The counter starts again every day and when it is used up.
    pub fn next(&self, now: DateTime<Utc>) -> QueryId {
        let day = now.timestamp().div_euclid(86_400);
        let counter = {
            let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let counter = if last.0 == day && last.1 < COUNTER_MAX { last.1 + 1 } else { 0 };
            *last = (day, counter);
            counter
        };
        let text = format!("{}_{counter:05}_{}", now.format("%Y%m%d_%H%M%S"), self.coordinator);
        text.parse().expect("the text has the form of a query id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_and_start_again_each_day() {
        let ids = QueryIds::new();
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc);
        let first = ids.next(at("2026-11-20T06:14:11Z"));
        let second = ids.next(at("2026-11-20T06:14:12Z"));
        let next_day = ids.next(at("2026-11-21T00:00:00Z"));
        assert!(first.as_str().starts_with("20261120_061411_00000_"), "{first}");
        assert!(second.as_str().starts_with("20261120_061412_00001_"), "{second}");
        assert!(next_day.as_str().starts_with("20261121_000000_00000_"), "{next_day}");
        assert!(first.as_str().ends_with(ids.coordinator_id()));
    }
}
