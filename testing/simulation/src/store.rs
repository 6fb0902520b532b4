//! The exchange store: objects by key, and all that can go wrong between asking and being answered.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use base::{AttemptId, Epoch, OutputId, QueryId};
use scheduler::{OutputSize, Record, RecordKey};

/// Where an object is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A life of the coordinator.
    Epoch(Epoch),
    /// The sign of life of a life of the coordinator.
    Lease(Epoch),
    /// What a client asked.
    Query(QueryId),
    /// What was planned.
    Plan(QueryId),
    /// What the core decided.
    Record(QueryId, RecordKey),
    /// Who wrote the output of a task.
    Commit(OutputId),
    /// What an attempt wrote.
    Data(AttemptId),
}

impl Key {
    /// The query under whose prefix the object is.
    pub fn query(&self) -> Option<QueryId> {
        match self {
            Key::Epoch(_) | Key::Lease(_) => None,
            Key::Query(query) | Key::Plan(query) | Key::Record(query, _) => Some(*query),
            Key::Commit(output) => Some(output.task.query),
            Key::Data(attempt) => Some(attempt.task.query),
        }
    }

    /// Whether it is the outcome of a query.
    pub fn is_done(&self) -> bool {
        matches!(self, Key::Record(_, RecordKey::Done))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Epoch(epoch) => write!(f, "epoch/{}", epoch.0),
            Key::Lease(epoch) => write!(f, "lease/{}", epoch.0),
            Key::Query(query) => write!(f, "{query}/query"),
            Key::Plan(query) => write!(f, "{query}/plan"),
            Key::Record(query, RecordKey::Tasks { stage, number }) => {
                write!(f, "{query}/tasks/{stage}/{number}")
            }
            Key::Record(query, RecordKey::Rollback { number }) => write!(f, "{query}/rollback/{number}"),
            Key::Record(query, RecordKey::Done) => write!(f, "{query}/done"),
            Key::Commit(OutputId { task, generation }) => write!(f, "{task}.{generation}.commit"),
            Key::Data(attempt) => write!(f, "{attempt}.data"),
        }
    }
}

/// What an object holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// Which process took the epoch, by its number in the world.
    Owner(u64),
    /// How often a lease was renewed.
    Counter(u64),
    /// Which plan a query has.
    Plan(usize),
    /// A decision of the core.
    Record(Record),
    /// The winner of an output, and its rows by output partition if they are few.
    Commit { winner: AttemptId, output: OutputSize, rows: Option<Rc<Vec<Vec<u64>>>> },
    /// The rows that an attempt wrote, by output partition.
    Data(Rc<Vec<Vec<u64>>>),
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Operation {
    Get(Key),
    /// Writes over whatever is there.
    Put(Key, Value),
    /// Writes if nothing is there.
    Create(Key, Value),
    Delete(Key),
    /// The keys of a query, or of everything.
    List(Option<QueryId>),
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// It was not: something is there.
    Exists,
    Found(Value),
    Missing,
    /// What is there is not what was written.
    Corrupt,
    Listed(Vec<Key>),
    /// It was not done.
    Refused,
    /// Nobody knows whether it was done.
    Unavailable,
}

#[derive(Debug)]
struct Object {
    value: Value,
    rotten: bool,
}

/// The objects.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Object>,
}

impl Store {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key).map(|object| &object.value)
    }

    pub fn is_rotten(&self, key: &Key) -> bool {
        self.objects.get(key).is_some_and(|object| object.rotten)
    }

    pub fn put(&mut self, key: Key, value: Value, rotten: bool) {
        self.objects.insert(key, Object { value, rotten });
    }

    /// What is there cannot be read any more.
    pub fn spoil(&mut self, key: &Key) {
        if let Some(object) = self.objects.get_mut(key) {
            object.rotten = true;
        }
    }

    pub fn remove(&mut self, key: &Key) -> bool {
        self.objects.remove(key).is_some()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    /// Whether anything of any query is there.
    pub fn has_queries(&self) -> bool {
        self.objects.keys().any(|key| key.query().is_some())
    }
}
