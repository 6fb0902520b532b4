//! What happens to an operation that arrives at the store.

use base::QueryId;
use scheduler::Record;

use crate::bug::Bug;
use crate::fault::Fault;
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
                // The moment before somebody reads is the worst to vanish.
                let is_data = matches!(key, Key::Data(_)) && self.store.get(&key).is_some();
                if is_data && self.random.below(16) == 0 && self.strikes(Fault::RotAtRest) {
                    self.ledger.note_rot(key);
                    self.store.remove(&key);
                }
                self.read(key)
            }
            Operation::Put(key, value) => {
                self.note_write(asker, key, &value)?;
                let rots = matches!(key, Key::Data(_)) && self.strikes(Fault::RotAtWrite);
                if rots {
                    self.ledger.note_rot(key);
                }
                self.store.put(key, value, rots);
                Answer::Done
            }
            Operation::Create(key, value) => {
                if self.store.get(&key).is_some() {
                    Answer::Exists
                } else {
                    self.note_write(asker, key, &value)?;
                    self.store.put(key, value, false);
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

    fn list(&mut self, asker: Asker, of: Option<QueryId>) {
        let mut listed = self.keys_of(of);
        if listed.len() > 1 && !self.calm && self.random.below(4) == 0 {
            self.sometimes("listings that were not atomic", true);
            let half = 1 + self.random.below(listed.len() as u64 - 1) as usize;
            listed.truncate(half);
            let from = *listed.last().expect("it is not empty");
            let delay = self.random.range(10, 4_000);
            self.at(delay, Happening::ListRest { asker, of, from, listed });
        } else {
            self.answer(asker, Answer::Listed(listed));
        }
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
    fn note_write(&mut self, asker: Asker, key: Key, value: &Value) -> Result<(), String> {
        match (key, value) {
            (Key::Commit(output), Value::Commit { winner, .. }) => {
                let query = output.task.query;
                if let Some(before) = self.ledger.committed.insert(output, *winner)
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
        let _ = asker;
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
        let wanted = self
            .clients
            .iter()
            .any(|client| client.query == Some(query) && client.phase == crate::client::Phase::Polling);
        if wanted && !self.ledger.done.contains_key(&query) {
            return Err(format!("I-14: {key:?} is deleted and {query} has not ended"));
        }
        self.ledger.deleted.insert(query);
        Ok(())
    }
}
