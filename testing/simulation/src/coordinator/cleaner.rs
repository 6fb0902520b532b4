//! Deleting what queries leave: by listing, never from memory, and only what nobody can want any more.

use std::collections::BTreeMap;

use base::QueryId;

use super::Purpose;
use super::recovery::SWEEP_EVERY;
use crate::bug::Bug;
use crate::client::Response;
use crate::happening::Timer;
use crate::store::{Answer, Key, Operation};
use crate::world::World;

/// The record of how a query ended stays for so long, so that a client that lost the last answer can ask again.
const LINGER: u64 = 20_000;
/// A listing that found something to delete is repeated after so long.
const LIST_AGAIN: u64 = 500;

impl World {
    /// Deletes what a query has left, if it is time for that.
    pub fn clean(&mut self, at: usize, query: QueryId) {
        let Some(job) = self.job(at, query) else {
            return;
        };
        if job.outcome.is_some() && job.closed && !job.released && !job.is_bare {
            // The core may not know that nobody wants it.
            let event = scheduler::Event::QueryClosed { query };
            if let Err(violation) = self.step_core(at, event) {
                self.violate(violation);
            }
            return;
        }
        if job.outcome.is_some() && job.closed && job.released && job.deletions == 0 {
            // The listing counts as one until it is there.
            job.deletions = 1;
            self.shell_asks(at, Purpose::CleanList(query), Operation::List(Some(query)));
        }
    }

    /// Looks for what queries left that nobody knows.
    pub fn sweep(&mut self, at: usize) {
        self.wake(at, SWEEP_EVERY, Timer::Sweep);
        if self.bug != Some(Bug::CleanupKnowsItsOwnOnly) {
            self.shell_asks(at, Purpose::SweepList, Operation::List(None));
        }
    }

    pub fn cleaner_hears(&mut self, at: usize, purpose: Purpose, answer: Answer) -> Result<(), String> {
        match (purpose, answer) {
            (Purpose::CleanList(query), Answer::Listed(keys)) => self.on_clean_list(at, query, &keys),
            (Purpose::CleanDelete(query), _) => {
                if let Some(job) = self.job(at, query) {
                    job.deletions -= 1;
                    if job.deletions == 0 {
                        self.wake(at, LIST_AGAIN, Timer::Clean(query));
                    }
                }
            }
            (Purpose::SweepList, Answer::Listed(keys)) => {
                let mut unknown: BTreeMap<QueryId, Vec<Key>> = BTreeMap::new();
                for key in keys {
                    if let Some(query) =
                        key.query().filter(|query| !self.process(at).jobs.contains_key(query))
                    {
                        unknown.entry(query).or_default().push(key);
                    }
                }
                for (query, keys) in unknown {
                    // What a listing does not name may be there all the same.
                    let operation = Operation::Get(Key::Query(query));
                    self.shell_asks(at, Purpose::SweepLook(query, keys), operation);
                }
            }
            (Purpose::SweepLook(query, _), Answer::Found(_) | Answer::Corrupt) => {
                if !self.process(at).jobs.contains_key(&query) {
                    self.sometimes("queries found by a sweep", true);
                    self.recover(at, query);
                }
            }
            (Purpose::Look { query, client, number }, Answer::Found(_) | Answer::Corrupt)
                if self.bug != Some(Bug::UnknownIsGone) =>
            {
                if !self.process(at).jobs.contains_key(&query) {
                    self.sometimes("queries found by their client", true);
                    self.recover(at, query);
                }
                self.respond(at, client, number, Response::Unavailable);
            }
            (Purpose::Look { query, client, number }, Answer::Missing)
                if self.is_run_again(at, client, query) =>
            {
                self.run_again(at, client, number, query);
            }
            (Purpose::Look { client, number, .. }, _) => self.respond(at, client, number, Response::Gone),
            (Purpose::SweepDelete(query), _) => {
                let sweeping = &mut self.process(at).sweeping;
                let left = sweeping.get(&query).map_or(0, |count| count - 1);
                match left {
                    0 => sweeping.remove(&query),
                    _ => sweeping.insert(query, left),
                };
            }
            (Purpose::SweepLook(query, keys), Answer::Missing) => {
                if !self.process(at).jobs.contains_key(&query) {
                    self.sometimes("leftovers swept", true);
                    self.sweep_query(at, keys);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn sweep_query(&mut self, at: usize, keys: Vec<Key>) {
        for key in keys {
            if let Some(query) = key.query() {
                *self.process(at).sweeping.entry(query).or_default() += 1;
                self.shell_asks(at, Purpose::SweepDelete(query), Operation::Delete(key));
            }
        }
    }

    fn on_clean_list(&mut self, at: usize, query: QueryId, keys: &[Key]) {
        let now = self.now;
        let lists_once = self.bug == Some(Bug::CleanupKnowsItsOwnOnly);
        let Some(job) = self.job(at, query) else {
            return;
        };
        job.deletions = 0;
        let says_how = |key: &&Key| matches!(key, Key::Query(_)) || key.is_done();
        // The plan goes first: without it nobody takes what is half deleted for a query that can go on.
        let plan: Vec<Key> = keys.iter().filter(|key| matches!(key, Key::Plan(_))).copied().collect();
        let rest: Vec<Key> = keys.iter().filter(|key| !says_how(key)).copied().collect();
        let rest = if plan.is_empty() { rest } else { plan };
        if !rest.is_empty() {
            job.deletions = rest.len();
            job.clean_since = None;
            for key in rest {
                self.shell_asks(at, Purpose::CleanDelete(query), Operation::Delete(key));
            }
            return;
        }
        let since = *job.clean_since.get_or_insert(now);
        if now - since < LINGER && !lists_once {
            self.wake(at, LINGER, Timer::Clean(query));
            return;
        }
        if keys.is_empty() {
            self.process(at).jobs.remove(&query);
            return;
        }
        // How it ended is deleted last.
        let record = keys.iter().find(|key| matches!(key, Key::Query(_)));
        let key = *record.or(keys.first()).expect("there is one");
        job.deletions = 1;
        self.shell_asks(at, Purpose::CleanDelete(query), Operation::Delete(key));
    }
}
