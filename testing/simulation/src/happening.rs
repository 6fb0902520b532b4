//! What happens at a point in virtual time.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use base::{AttemptId, Epoch, OutputId, QueryId, StageId};
use scheduler::{AttemptSpec, NodeState, WorkerReport};

use crate::client::{Request, Response};
use crate::coordinator::Purpose;
use crate::store::{Answer, Key, Operation};

/// What an attempt reads of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub output: OutputId,
    pub winner: AttemptId,
    /// The partitions to read.
    pub partitions: std::ops::Range<usize>,
    /// Its rows only have to be what they must be; they do not go on.
    pub is_broadcast: bool,
    pub place: Place,
}

/// Where the rows of an output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There are none, or they travel with the attempt that reads them.
    Carried,
    /// In the commit record.
    Record,
    /// In the data object.
    Object,
    /// They come from the attempt that writes them, while it runs.
    Pipe,
}

/// An attempt as it travels to a worker: what the core says, and the commit records of what it reads. None if they
/// are not all known.
pub type Parcel = (AttemptSpec, Option<Arc<Vec<Source>>>);

/// Which of its requests to the store an attempt gets an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Read(usize),
    Write,
    Commit,
    ReadBack,
}

/// Who asked the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Attempt { host: usize, life: u64, attempt: AttemptId, part: Part },
    Shell { process: u64, token: u64 },
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asker::Attempt { host, attempt, part, .. } => write!(f, "w{host} {attempt} {part:?}"),
            Asker::Shell { process, token } => write!(f, "p{process} {token}"),
        }
    }
}

/// What the shell of a coordinator is woken for.
#[derive(Clone, Debug)]
pub enum Timer {
    /// To see whether it was asleep, and which clients have gone.
    Second,
    Renew,
    Watch,
    Sweep,
    Plan(QueryId),
    Splits {
        query: QueryId,
        stage: StageId,
        scan: u32,
        count_max: u32,
    },
    /// A client has waited long enough for rows.
    Answer(QueryId),
    /// A client that has posted has waited long enough.
    FirstAnswer(QueryId),
    /// The coordinator asks an attempt of the root for its rows.
    PullRoot(QueryId, u32),
    Clean(QueryId),
    Retry(Rc<(Purpose, Operation)>),
}

/// What was just decided or found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Tasks, outputs, rollbacks.
    Work,
    /// A coordinator leads, or knows what the ones before it left.
    Lead,
    /// How a query ends.
    End,
    /// A region has started.
    Region,
    /// A query gets its records, or ended without them.
    Late,
    /// The client gets rows of a result that is not complete.
    Read,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A worker without a stream looks for a coordinator.
    Dial {
        host: usize,
        life: u64,
    },
    DialArrives {
        host: usize,
        life: u64,
        machine: usize,
    },
    DialRefused {
        host: usize,
        life: u64,
    },
    Connected {
        host: usize,
        life: u64,
        process: u64,
        stream: u64,
    },
    Report {
        process: u64,
        stream: u64,
        host: usize,
        report: Box<WorkerReport>,
    },
    Desired {
        process: u64,
        stream: u64,
        host: usize,
        life: u64,
        epoch: Epoch,
        sequence: u64,
        parcels: Rc<Vec<Parcel>>,
    },
    /// A worker learns that its stream is broken.
    StreamEnded {
        host: usize,
        life: u64,
        stream: u64,
    },
    /// A coordinator learns that the stream of a worker is broken.
    WorkerGone {
        process: u64,
        host: usize,
        life: u64,
        stream: u64,
    },
    HostTick {
        host: usize,
        life: u64,
        at: u64,
    },
    /// An attempt goes on: it starts, has computed, or tries again.
    Progress {
        host: usize,
        life: u64,
        attempt: AttemptId,
    },
    /// An attempt asks another one for its rows.
    Pull {
        host: usize,
        life: u64,
        attempt: AttemptId,
        /// Which of its sources.
        at: usize,
    },
    Stopped {
        host: usize,
        life: u64,
        attempt: AttemptId,
    },
    /// An operation arrives at the store.
    Apply {
        asker: Asker,
        operation: Operation,
        lose_answer: bool,
    },
    /// The second half of a listing.
    ListRest {
        asker: Asker,
        of: Option<QueryId>,
        /// In which order the keys are named.
        order: u64,
        listed: Vec<Key>,
    },
    Answered {
        asker: Asker,
        answer: Answer,
    },
    CoreTick {
        process: u64,
        at: u64,
    },
    Shell {
        process: u64,
        timer: Timer,
    },
    ClientWakes {
        client: usize,
        number: u64,
    },
    Request {
        machine: usize,
        client: usize,
        number: u64,
        request: Request,
    },
    Response {
        machine: usize,
        client: usize,
        number: u64,
        response: Response,
    },
    ClientCancels {
        client: usize,
    },
    Start {
        host: usize,
    },
    Resume {
        host: usize,
    },
    Drain {
        host: usize,
        life: u64,
        state: NodeState,
    },
    Undrain {
        host: usize,
        life: u64,
    },
    StartMachine {
        machine: usize,
    },
    ResumeMachine {
        machine: usize,
    },
    Chaos,
    /// Something was just decided or found out, at a coordinator: a fault hurts most now.
    Moment {
        machine: usize,
        kind: Moment,
    },
    Inspect,
    EndOfChaos,
}

/// One line for people.
impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::Report { process, host, report, .. } => {
                write!(f, "p{process} <- w{host} report {} {:?}", report.sequence, report.state)?;
                if let Some((epoch, sequence)) = report.desired_seen {
                    write!(f, " seen {}/{sequence}", epoch.0)?;
                }
                for attempt in &report.attempts {
                    write!(f, " {}:{}", attempt.attempt, status_name(&attempt.status))?;
                }
                Ok(())
            }
            Happening::Desired { process, host, epoch, sequence, parcels, .. } => {
                write!(f, "w{host} <- p{process} desired {}/{sequence}", epoch.0)?;
                parcels.iter().try_for_each(|(spec, _)| write!(f, " {}", spec.attempt))
            }
            Happening::Apply { asker, operation, lose_answer } => {
                let lost = if *lose_answer { ", answer lost" } else { "" };
                write!(f, "store <- {asker:?} {operation:?}{lost}")
            }
            Happening::Answered { asker, answer: Answer::Listed(keys) } => {
                write!(f, "{asker:?} <- store {} keys", keys.len())
            }
            Happening::Answered { asker, answer } => write!(f, "{asker:?} <- store {answer:?}"),
            Happening::ListRest { asker, listed, .. } => {
                write!(f, "store goes on listing after {} keys for {asker:?}", listed.len())
            }
            Happening::Shell { process, timer } => write!(f, "p{process} wakes for {timer:?}"),
            Happening::Progress { host, attempt, .. } => write!(f, "w{host} {attempt} goes on"),
            Happening::Stopped { host, attempt, .. } => write!(f, "w{host} {attempt} has stopped"),
            other => write!(f, "{other:?}"),
        }
    }
}

fn status_name(status: &scheduler::AttemptStatus) -> String {
    match status {
        scheduler::AttemptStatus::Committed { winner, .. } => format!("committed by {winner}"),
        scheduler::AttemptStatus::Failed(failure) => format!("failed {}", failure.error.code()),
        other => format!("{other:?}"),
    }
}
