//! What becomes of objects in the store: they vanish, or cannot be read any more.

use std::collections::{BTreeMap, BTreeSet};

use base::{AttemptId, OutputId, QueryId, StageId};

use crate::fault::Fault;
use crate::happening::Happening;
use crate::store::{Key, Operation};
use crate::world::World;

impl World {
    /// Something that an attempt wrote is gone, or unreadable.
    pub fn rot(&mut self) {
        let is_output = |key: &&Key| matches!(key, Key::Data(_) | Key::Commit(_)) && self.may_rot(key);
        let mut outputs: Vec<Key> = self.store.keys().filter(is_output).copied().collect();
        if self.random.below(4) > 0 {
            let worst = self.worst_to_lose();
            let of_worst = |key: &&Key| match key {
                Key::Data(attempt) => worst.contains(&attempt.output()),
                Key::Commit(output) => worst.contains(output),
                _ => false,
            };
            let of_worst: Vec<Key> = outputs.iter().filter(of_worst).copied().collect();
            if !of_worst.is_empty() {
                outputs = of_worst;
            }
        }
        if !outputs.is_empty() {
            let key = outputs[self.random.below(outputs.len() as u64) as usize];
            self.rot_output(key);
        }
    }

    /// Whether what becomes of an object is survived. That a stage is not what it is called is only noticed as long as
    /// somebody knows what it wrote before: whether its data or its word for them are lost, but not both.
    fn may_rot(&self, key: &Key) -> bool {
        let Key::Commit(output) = key else {
            return true;
        };
        let plan = &self.plans[self.ledger.plans[&output.task.query]];
        !plan.liars.contains(&output.task.stage)
    }

    /// The outputs that some have read and others may still have to read; if there are such, those that will be
    /// something else when they are made again.
    fn worst_to_lose(&self) -> BTreeSet<OutputId> {
        let tasks = |output: &OutputId| (output.task.query, output.task.stage);
        let mut committed: BTreeMap<(QueryId, StageId), u32> = BTreeMap::new();
        for output in self.ledger.committed.keys() {
            *committed.entry(tasks(output)).or_default() += 1;
        }
        // Of a stage that is not through, some tasks have read and others have not.
        let is_through = |winner: &AttemptId| {
            let stage = tasks(&winner.output());
            committed.get(&stage) >= self.ledger.sealed.get(&stage)
        };
        let winners = self.ledger.committed.values().map(|(winner, _)| winner);
        let open = winners.filter(|winner| !is_through(winner));
        let sources = open.filter_map(|winner| self.ledger.lineage.get(winner)).flat_map(|it| it.iter());
        let read: BTreeSet<OutputId> = sources.map(|source| source.output).collect();
        let plan = |output: &OutputId| &self.plans[self.ledger.plans[&output.task.query]];
        let is_liar = |output: &&OutputId| plan(output).liars.contains(&output.task.stage);
        let is_restless = |output: &&OutputId| plan(output).is_restless(output.task.stage);
        let liars: BTreeSet<OutputId> = read.iter().filter(is_liar).copied().collect();
        let restless: BTreeSet<OutputId> = read.iter().filter(is_restless).copied().collect();
        [liars, restless].into_iter().find(|worst| !worst.is_empty()).unwrap_or(read)
    }

    /// An object vanishes or becomes unreadable.
    pub fn rot_output(&mut self, key: Key) {
        let vanishes = match key {
            // Whoever does not know that a record was there may write another one, which others must not do without.
            Key::Commit(output) => {
                let is_alone = self.machines.len() == 1 && !self.has_writers(output);
                is_alone && self.random.below(2) == 0
            }
            _ => self.random.below(4) > 0,
        };
        self.ledger.note_rot(key);
        if vanishes {
            if let Key::Commit(output) = key {
                self.ledger.committed.remove(&output);
            }
            self.store.remove(&key);
        } else {
            self.store.spoil(&key);
        }
    }

    /// Whether an attempt is there, or on its way, that may yet commit an output.
    fn has_writers(&self, output: OutputId) -> bool {
        let on_hosts = self.hosts.iter().flat_map(|host| host.executions.keys().chain(host.sources.keys()));
        let on_their_way = self.scheduled().any(|happening| match happening {
            Happening::Apply { operation: Operation::Create(Key::Commit(of), _), .. } => *of == output,
            Happening::Desired { parcels, .. } => {
                parcels.iter().any(|(spec, _)| spec.attempt.output() == output)
            }
            _ => false,
        });
        on_their_way || on_hosts.into_iter().any(|attempt| attempt.output() == output)
    }

    /// Something that a coordinator has recorded cannot be read any more.
    pub fn rot_record(&mut self) {
        let is_record = |key: &&Key| !matches!(key, Key::Data(_) | Key::Commit(_));
        let records: Vec<Key> = self.store.keys().filter(is_record).copied().collect();
        if !records.is_empty() {
            let key = records[self.random.below(records.len() as u64) as usize];
            self.spoil_record(key);
        }
    }

    fn spoil_record(&mut self, key: Key) {
        self.ledger.unreadable.extend(key.query());
        self.store.spoil(&key);
    }

    /// The moment before somebody reads is the worst to rot.
    pub fn rot_before_reading(&mut self, key: Key) {
        if self.store.get(&key).is_none() {
            return;
        }
        match key {
            Key::Data(_) | Key::Commit(_) => {
                if self.may_rot(&key) && self.random.below(16) == 0 && self.strikes(Fault::RotAtRest) {
                    self.rot_output(key);
                }
            }
            _ => {
                if self.random.below(8) == 0 && self.strikes(Fault::RecordRot) {
                    self.spoil_record(key);
                }
            }
        }
    }

    /// Whether what is written now is not what will be read.
    pub fn rots_at_write(&mut self, key: Key) -> bool {
        match key {
            Key::Data(_) | Key::Commit(_) => {
                let rots = self.may_rot(&key) && self.strikes(Fault::RotAtWrite);
                if rots {
                    self.ledger.note_rot(key);
                }
                rots
            }
            _ => {
                let rots = self.random.below(8) == 0 && self.strikes(Fault::RecordRot);
                if rots {
                    self.ledger.unreadable.extend(key.query());
                }
                rots
            }
        }
    }
}
