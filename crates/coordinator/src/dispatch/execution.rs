//! What the event loop keeps of a running query beyond its shape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use base::{AttemptId, NodeId, OutputId, QueryId, StageId};
use bytes::Bytes;
use connector::{Connector, Scan, Split, SplitOptions};
use exchange::CommitRecord;
use protocol::node::wire;
use scheduler::{InputShape, QueryOptions, QueryShape};

use super::root_output::RootOutput;
use super::splits::SplitEnumeration;

/// A planned query that wants to run.
pub struct Submission {
    /// The query.
    pub query: QueryId,
    /// What the scheduler knows of it.
    pub shape: QueryShape,
    /// Its limits and sizes.
    pub options: QueryOptions,
    /// Its stages; the index is the stage id.
    pub stages: Vec<StageDescription>,
    /// How scans are divided.
    pub split_options: SplitOptions,
    /// Where its progress is told.
    pub root: Arc<RootOutput>,
}

/// A stage as workers need it.
pub struct StageDescription {
    /// The fragment, encoded by the operators crate.
    pub fragment: Bytes,
    /// The scans of the fragment by number.
    pub scans: Vec<ScanDescription>,
}

/// A scan of a stage.
#[derive(Clone)]
pub struct ScanDescription {
    /// Where splits come from.
    pub connector: Arc<dyn Connector>,
    /// What is scanned.
    pub scan: Scan,
}

/// What the event loop keeps of a running query.
pub struct Execution {
    /// The stages by id.
    pub stages: Vec<ExecutionStage>,
    /// Where progress is told.
    pub root: Arc<RootOutput>,
    /// How scans are divided.
    pub split_options: SplitOptions,
    /// Every attempt that a worker ever reported.
    pub attempts: BTreeMap<AttemptId, AttemptRecord>,
    /// Commit records that were reported, by author, until their output is decided.
    pub reported_records: BTreeMap<AttemptId, CommitRecord>,
}

/// What the event loop keeps of a stage.
pub struct ExecutionStage {
    /// The fragment, encoded.
    pub fragment: Bytes,
    /// What the stage reads from other stages.
    pub inputs: Vec<InputShape>,
    /// Its scans by number.
    pub scans: Vec<ExecutionScan>,
    /// How many tasks it has, once that is final.
    pub tasks: Option<u32>,
    /// The committed outputs of its tasks that are decided.
    pub outputs: BTreeMap<u32, Arc<CommitRecord>>,
}

/// What the event loop keeps of a scan.
pub struct ExecutionScan {
    /// What is scanned, and by whom.
    pub description: ScanDescription,
    /// The splits known so far, in the order they arrived.
    pub splits: Vec<Split>,
    /// The running enumeration.
    pub enumeration: Option<SplitEnumeration>,
}

/// An attempt as its worker last reported it.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// Where it runs, or ran.
    pub node: NodeId,
    /// Whether its worker last said that it runs.
    pub is_running: bool,
    /// The most memory it has used, in bytes.
    pub peak_memory_bytes: u64,
    /// What it has done.
    pub stats: wire::AttemptStats,
    /// When it was first heard of.
    pub created: SystemTime,
    /// When it was last heard of.
    pub last_heard: SystemTime,
}

impl Execution {
    /// The execution of a submission, before anything has run.
    pub fn new(
        shape: &QueryShape,
        stages: Vec<StageDescription>,
        split_options: SplitOptions,
        root: Arc<RootOutput>,
    ) -> Self {
        let stages = stages
            .into_iter()
            .zip(&shape.stages)
            .map(|(stage, shape)| ExecutionStage {
                fragment: stage.fragment,
                inputs: shape.inputs.clone(),
                scans: stage
                    .scans
                    .into_iter()
                    .map(|description| ExecutionScan { description, splits: Vec::new(), enumeration: None })
                    .collect(),
                tasks: None,
                outputs: BTreeMap::new(),
            })
            .collect();
        Execution {
            stages,
            root,
            split_options,
            attempts: BTreeMap::new(),
            reported_records: BTreeMap::new(),
        }
    }

    /// A stage, if the query has it.
    pub fn stage(&self, stage: StageId) -> Option<&ExecutionStage> {
        self.stages.get(stage.0 as usize)
    }

    /// Whether the output of a task is decided, or a later version of it.
    pub fn is_decided(&self, output: OutputId) -> bool {
        let decided = self.stage(output.task.stage).and_then(|it| it.outputs.get(&output.task.partition));
        decided.is_some_and(|record| record.attempt().generation >= output.generation)
    }

    /// Whether a record is the one that counts.
    pub fn is_current(&self, record: &CommitRecord) -> bool {
        let task = record.attempt().task;
        let known = self.stage(task.stage).and_then(|stage| stage.outputs.get(&task.partition));
        known.is_some_and(|known| known.attempt() == record.attempt())
    }

    /// Outputs that were decided do not count any more.
    pub fn forget_outputs(&mut self, outputs: &[OutputId]) {
        for output in outputs {
            let Some(stage) = self.stages.get_mut(output.task.stage.0 as usize) else {
                continue;
            };
            let partition = output.task.partition;
            if stage.outputs.get(&partition).is_some_and(|record| record.attempt().output() == *output) {
                stage.outputs.remove(&partition);
            }
            if output.task.stage.0 == 0 {
                self.root.forget(*output);
            }
        }
    }

    /// The attempts of a stage that a worker ever reported.
    pub fn attempts_of(&self, stage: StageId) -> impl Iterator<Item = (&AttemptId, &AttemptRecord)> {
        self.attempts.iter().filter(move |(attempt, _)| attempt.task.stage == stage)
    }

    /// A scan, if the query has it.
    pub fn scan_mut(&mut self, stage: StageId, scan: u32) -> Option<&mut ExecutionScan> {
        self.stages.get_mut(stage.0 as usize)?.scans.get_mut(scan as usize)
    }
}
