//! The rows of short queries that were delivered, kept for clients that lost the answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Query;

/// How many delivered answers are kept, and how many bytes of rows. Older ones are dropped: who asks for one of them
/// again is told that it is gone.
const ANSWER_COUNT_MAX: usize = 10_000;
const ANSWERS_BYTES_MAX: usize = 64 << 20;

/// The answers of short queries that were delivered last, oldest first.
#[derive(Default)]
pub struct DeliveredAnswers {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answers: VecDeque<(Weak<Query>, usize)>,
    bytes: usize,
}

impl DeliveredAnswers {
    /// An answer of so many bytes was delivered. Drops answers that were delivered long ago.
    pub async fn delivered(&self, query: &Arc<Query>, bytes: usize) {
        for old in self.push(query, bytes) {
            if let Some(query) = old.upgrade() {
                query.pages.lock().await.forget();
            }
        }
    }

    /// Takes note of an answer, and tells which are to be dropped.
    fn push(&self, query: &Arc<Query>, bytes: usize) -> Vec<Weak<Query>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.push_back((Arc::downgrade(query), bytes));
        kept.bytes += bytes;
        let mut dropped = Vec::new();
        while kept.answers.len() > ANSWER_COUNT_MAX || kept.bytes > ANSWERS_BYTES_MAX {
            let Some((old, bytes)) = kept.answers.pop_front() else { break };
            kept.bytes -= bytes;
            dropped.push(old);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use protocol::client::ClientContext;

    use super::*;
    use crate::query::{Page, PageError};

    fn query(number: u32) -> Arc<Query> {
        let id = format!("20261120_061411_{number:05}_abcde").parse().unwrap();
        Arc::new(Query::new(id, "SELECT 1".into(), ClientContext::default()))
    }

    #[tokio::test]
    async fn what_was_delivered_longest_ago_is_gone_first() {
        let answers = DeliveredAnswers::default();
        let queries: Vec<_> = (0..3).map(query).collect();
        for query in &queries {
            query.pages.lock().await.keep(0, Page { is_final: true, ..Page::default() });
            answers.delivered(query, ANSWERS_BYTES_MAX / 2).await;
        }
        let kept = async |at: usize| {
            let pages = queries[at].pages.lock().await;
            (pages.check(0), pages.kept(0).is_some())
        };
        assert_eq!(kept(0).await, (Err(PageError::Gone), false));
        assert_eq!(kept(1).await, (Ok(()), true));
        assert_eq!(kept(2).await, (Ok(()), true));
    }
}
