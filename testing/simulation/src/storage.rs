//! What happens to an operation that arrives at the store.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};

use base::QueryId;
use scheduler::Record;

use crate::bug::Bug;
use crate::happening::{Asker, Happening};
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

impl World {
    pub fn apply(&mut self, asker: Asker, operation: Operation, lose_answer: bool) -> Result<(), String> {
        if !self.is_asker_alive(asker) {
            if self.calm || self.random.below(2) == 0 {
                return Ok(());
            }
            self.sometimes("operations of the dead", true);
        }
        if self.is_away(asker) {
            self.answer(asker, Answer::Unavailable);
            return Ok(());
        }
        let answer = match operation {
            Operation::Get(key) => {
                self.rot_before_reading(key);
                self.read(key)
            }
            Operation::Put(key, value) => {
                self.note_write(key, &value)?;
                let rots = self.rots_at_write(key);
                self.store.put(key, value, rots);
                Answer::Done
            }
            Operation::Create(key, value) => {
                if self.store.get(&key).is_some() {
                    Answer::Exists
                } else {
                    self.note_write(key, &value)?;
                    let rots = self.rots_at_write(key);
                    self.store.put(key, value, rots);
                    Answer::Done
                }
            }
            Operation::Delete(key) => {
                self.note_delete(key)?;
                self.store.remove(&key);
                Answer::Done
            }
            Operation::List(of) => {
                self.list(asker, of);
                return Ok(());
            }
        };
        self.answer(asker, if lose_answer { Answer::Unavailable } else { answer });
        Ok(())
    }

    fn read(&mut self, key: Key) -> Answer {
        let is_rotten = self.store.is_rotten(&key);
        match self.store.get(&key) {
            // Who does not tell nothing from empty reads no rows.
            None if self.bug == Some(Bug::MissingIsEmpty) && matches!(key, Key::Data(_)) => {
                Answer::Found(Value::Data(Vec::new().into()))
            }
            None => Answer::Missing,
            // Who does not look at checksums reads what is left.
            Some(Value::Data(data)) if is_rotten && self.bug == Some(Bug::NoChecksum) => {
                let mut less = (**data).clone();
                less.iter_mut().for_each(|rows| rows.truncate(rows.len().saturating_sub(1)));
                Answer::Found(Value::Data(less.into()))
            }
            Some(_) if is_rotten => Answer::Corrupt,
            Some(value) => Answer::Found(value.clone()),
        }
    }

    /// A listing names the keys in some order, and is not atomic: what comes to be meanwhile may be missed.
    fn list(&mut self, asker: Asker, of: Option<QueryId>) {
        let order = self.random.below(3);
        let mut listed = self.keys_of(of, order);
        if listed.len() > 1 && !self.calm && self.random.below(4) == 0 {
            self.sometimes("listings that were not atomic", true);
            let half = 1 + self.random.below(listed.len() as u64 - 1) as usize;
            listed.truncate(half);
            let delay = self.random.range(10, 4_000);
            self.at(delay, Happening::ListRest { asker, of, order, listed });
        } else {
            self.answer(asker, Answer::Listed(listed));
        }
    }

    /// The second half of a listing: what comes after the first.
    pub fn list_rest(&mut self, asker: Asker, of: Option<QueryId>, order: u64, mut listed: Vec<Key>) {
        let last = listed.last().map(|key| rank(key, order));
        let rest = self.keys_of(of, order);
        listed.extend(rest.into_iter().filter(|key| Some(rank(key, order)) > last));
        self.answer(asker, Answer::Listed(listed));
    }

    fn keys_of(&self, of: Option<QueryId>, order: u64) -> Vec<Key> {
        let wanted = |key: &&Key| of.is_none_or(|query| key.query() == Some(query));
        let mut keys: Vec<Key> = self.store.keys().filter(wanted).copied().collect();
        keys.sort_by_key(|key| rank(key, order));
        keys
    }

    fn is_asker_alive(&self, asker: Asker) -> bool {
        match asker {
            Asker::Attempt { host, life, .. } => self.hosts[host].up && self.hosts[host].life == life,
            Asker::Shell { process, .. } => self.machine_of(process).is_some(),
        }
    }

    /// Whether the store cannot be reached by whoever asks.
    fn is_away(&self, asker: Asker) -> bool {
        let cut = match asker {
            Asker::Shell { process, .. } => self.machine_of(process).map_or(0, |at| self.store_cut[at]),
            Asker::Attempt { .. } => 0,
        };
        self.now < self.outage_until || self.now < cut
    }

    /// I-1 and I-9, where they matter: in the store.
    fn note_write(&mut self, key: Key, value: &Value) -> Result<(), String> {
        match (key, value) {
            (Key::Commit(output), Value::Commit { winner, .. }) => {
                let query = output.task.query;
                self.ledger.winners.insert(*winner);
                if let Some((before, _)) = self.ledger.committed.insert(output, (*winner, self.now))
                    && before != *winner
                    && !self.ledger.deleted.contains(&query)
                {
                    return Err(format!("I-1: {before} and {winner} are both committed"));
                }
            }
            (Key::Record(query, _), Value::Record(Record::Done { outcome })) => {
                if self.ledger.deleted.contains(&query) {
                    return Ok(());
                }
                self.ledger.done_at.entry(query).or_insert(self.now);
                if let Some(before) = self.ledger.done.insert(query, outcome.clone())
                    && before != *outcome
                {
                    return Err(format!("I-9: {query} ended with {before:?} and then with {outcome:?}"));
                }
            }
            (Key::Record(query, record), Value::Record(_)) => {
                self.sometimes("records written after the end", self.ledger.done.contains_key(&query));
                if self.ledger.deleted.contains(&query) {
                    return Ok(());
                }
                if let Some(before) = self.ledger.records.insert((query, record), self.now) {
                    return Err(format!("I-14: {key:?} was there since {before} ms and is written again"));
                }
            }
            (Key::Epoch(epoch), Value::Owner(owner)) => {
                if self.ledger.owners.insert(epoch, *owner).is_some() {
                    return Err(format!("I-14: epoch {} is given away twice", epoch.0));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing of a query is deleted that somebody may still want.
    fn note_delete(&mut self, key: Key) -> Result<(), String> {
        let Some(query) = key.query() else {
            return Ok(());
        };
        if self.store.get(&key).is_none() || self.ledger.deleted.contains(&query) {
            return Ok(());
        }
        let is_unrecorded = self.plans[self.ledger.plans[&query]].is_late()
            && self.store.get(&Key::Query(query)).is_none()
            && !self.ledger.done.contains_key(&query);
        if is_unrecorded || self.ledger.orphans.contains(&query) {
            // For all others it is not there.
            match key {
                Key::Record(query, record) => self.ledger.records.remove(&(query, record)).map(|_| ()),
                Key::Commit(output) => self.ledger.committed.remove(&output).map(|_| ()),
                _ => None,
            };
            return Ok(());
        }
        if self.is_wanted(query) && !self.ledger.done.contains_key(&query) {
            return Err(format!("I-14: {key:?} is deleted and {query} has not ended"));
        }
        self.ledger.deleted.insert(query);
        Ok(())
    }
}

/// Where a key stands in a listing: by name, the other way round, or anywhere, as in a local directory.
fn rank(key: &Key, order: u64) -> (u64, Option<Key>, Option<Reverse<Key>>) {
    match order {
        0 => (0, Some(*key), None),
        1 => (0, None, Some(Reverse(*key))),
        _ => {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            (hasher.finish(), Some(*key), None)
        }
    }
}
