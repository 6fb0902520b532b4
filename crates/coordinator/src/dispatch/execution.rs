//! What the event loop keeps of a running query beyond its shape.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use base::{AttemptId, Epoch, Error, ErrorCode, NodeId, OutputId, QueryId, StageId, TaskId};
use bytes::Bytes;
use connector::{Connector, Scan, Split, SplitOptions};
use exchange::CommitRecord;
use protocol::node::wire;
use protocol::node::wire::assignment::Output;
use scheduler::{AttemptStatus, InputShape, QueryOptions, QueryShape, Record};

use super::durability::{Durability, LateOutputs};
use super::inline::InlineOutputs;
use super::pipeline::{Pipeline, PipelineOptions};
use super::region::Region;
use super::root_output::RootOutput;
use super::splits::SplitEnumeration;

/// A planned query that wants to run.
pub struct Submission {
    /// The query.
    pub query: QueryId,
    /// The life of the coordinator that planned it.
    pub epoch: Epoch,
    /// What the scheduler knows of it.
    pub shape: QueryShape,
    /// Its limits and sizes.
    pub options: QueryOptions,
    /// Its stages; the index is the stage id.
    pub stages: Vec<StageDescription>,
    /// How scans are divided.
    pub split_options: SplitOptions,
    /// What only queries whose stages run at the same time have.
    pub pipeline: Option<PipelineOptions>,
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
    /// The life of the coordinator that planned it. Attempts of earlier ones are none of its own.
    pub epoch: Epoch,
    /// The stages by id.
    pub stages: Vec<ExecutionStage>,
    /// Where progress is told.
    pub root: Arc<RootOutput>,
    /// How scans are divided.
    pub split_options: SplitOptions,
    /// What only queries whose stages run at the same time have.
    pub pipeline: Option<Pipeline>,
    /// Every attempt that a worker ever reported.
    pub attempts: BTreeMap<AttemptId, AttemptRecord>,
    /// Commit records that were reported, by author, until their output is decided.
    pub reported_records: BTreeMap<AttemptId, CommitRecord>,
    /// Records that are being created, the first of them now.
    pub unpersisted: VecDeque<Record>,
    /// The outputs that are in memory.
    pub inline: InlineOutputs,
    /// Whether it is on record.
    pub durability: Durability,
    /// What was reported too late to be in memory only.
    pub late_outputs: LateOutputs,
}

/// What the event loop keeps of a stage.
pub struct ExecutionStage {
    /// The fragment, encoded.
    pub fragment: Bytes,
    /// What the stage reads from other stages.
    pub inputs: Vec<InputShape>,
    /// Its scans by number.
    pub scans: Vec<ExecutionScan>,
    /// Whether its tasks write the same when they are run again.
    pub determinate: bool,
    /// How many tasks it has, once that is final.
    pub tasks: Option<u32>,
    /// The committed outputs of its tasks that are decided.
    pub outputs: BTreeMap<u32, Arc<CommitRecord>>,
}

/// What the event loop keeps of a scan.
pub struct ExecutionScan {
    /// What is scanned, and by whom.
    pub description: ScanDescription,
    /// The splits known so far, by number: in the order in which the connector enumerates them.
    pub splits: BTreeMap<u32, Split>,
    /// How many of them the connector has enumerated. Others are known from records.
    pub arrived: u32,
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
    /// The execution of a submission, before anything has run, and what the scheduler knows of it.
    pub fn new(submission: Submission) -> (QueryShape, Self) {
        let Submission { query: _, epoch, shape, options, stages, split_options, pipeline, root } =
            submission;
        let stages = stages
            .into_iter()
            .zip(&shape.stages)
            .map(|(stage, shape)| ExecutionStage {
                fragment: stage.fragment,
                inputs: shape.inputs.clone(),
                scans: stage
                    .scans
                    .into_iter()
                    .map(|description| ExecutionScan {
                        description,
                        splits: BTreeMap::new(),
                        arrived: 0,
                        enumeration: None,
                    })
                    .collect(),
                determinate: shape.determinate,
                tasks: None,
                outputs: BTreeMap::new(),
            })
            .collect();
        let execution = Execution {
            epoch,
            stages,
            root,
            split_options,
            pipeline: pipeline.map(Pipeline::new),
            attempts: BTreeMap::new(),
            reported_records: BTreeMap::new(),
            unpersisted: VecDeque::new(),
            inline: InlineOutputs::default(),
            durability: if options.is_durable { Durability::Durable } else { Durability::Volatile },
            late_outputs: LateOutputs::new(),
        };
        (shape, execution)
    }

    /// Whether anything of the query may be in the store, now or later.
    pub fn is_store_used(&self) -> bool {
        !matches!(self.durability, Durability::Volatile) || self.inline.is_store_used()
    }

    /// Says in an assignment how large the output may be to travel in a report, unless it says so already.
    pub fn give_room(&mut self, attempt: AttemptId, assignment: &mut wire::Assignment) {
        let Some(Output::CommittedOutput(output)) = &mut assignment.output else {
            return;
        };
        match (&self.pipeline, &self.durability) {
            (Some(_), _) => self.inline.set_room(attempt, output.inline_bytes_max),
            (None, Durability::Volatile) => output.inline_bytes_max = self.inline.room(attempt),
            (None, _) => self.inline.assigned_to_store(),
        }
    }

    /// A stage, if the query has it.
    pub fn stage(&self, stage: StageId) -> Option<&ExecutionStage> {
        self.stages.get(stage.0 as usize)
    }

    /// What each stage reads from other stages.
    pub fn inputs(&self) -> impl Iterator<Item = (StageId, &[InputShape])> {
        (0..).map(StageId).zip(self.stages.iter().map(|stage| &stage.inputs[..]))
    }

    /// Whether the output of a stage goes through the store, or through a report, rather than to those who read it
    /// while it is written.
    pub fn is_committed(&self, stage: StageId) -> bool {
        self.pipeline.as_ref().is_none_or(|pipeline| pipeline.is_committed(stage))
    }

    /// The attempts that run now take the place of those that did.
    pub fn start_region(&mut self, region: Region) {
        let Some(pipeline) = &mut self.pipeline else {
            return;
        };
        pipeline.start(region);
        self.reported_records.retain(|attempt, _| pipeline.region().contains(attempt));
        if let Some(producers) = pipeline.streamed_root() {
            self.root.stream(producers);
        }
    }

    /// Why the query cannot be answered however often it is tried again, if a report says so.
    pub fn is_hopeless(&self, status: &AttemptStatus) -> Option<Error> {
        let pipeline = self.pipeline.as_ref()?;
        match status {
            AttemptStatus::Failed(failure)
                if failure.error.code() == ErrorCode::EXCHANGE_MANAGER_NOT_CONFIGURED =>
            {
                Some(failure.error.clone())
            }
            AttemptStatus::Committed { .. } => pipeline.check_result(self.reported_records.values()).err(),
            _ => None,
        }
    }

    /// Whether the output of a task is decided, or a later version of it.
    pub fn is_decided(&self, output: OutputId) -> bool {
        let decided = self.stage(output.task.stage).and_then(|it| it.outputs.get(&output.task.partition));
        decided.is_some_and(|record| record.attempt().generation >= output.generation)
    }

    /// Outputs that were decided do not count any more.
    pub fn forget_outputs(&mut self, outputs: &[OutputId]) {
        for output in outputs {
            let Some(stage) = self.stages.get_mut(output.task.stage.0 as usize) else {
                continue;
            };
            let partition = output.task.partition;
            if let Entry::Occupied(entry) = stage.outputs.entry(partition)
                && entry.get().attempt().output() == *output
            {
                self.inline.forget(&entry.remove().attempt());
            }
        }
        self.root.roll_back(outputs);
    }

    /// The attempts of a stage whose output counts.
    pub fn chosen_attempts(&self, stage: StageId) -> Vec<AttemptId> {
        if let Some(pipeline) = &self.pipeline {
            return pipeline.region().of_stage(stage).map(|producer| producer.attempt).collect();
        }
        let outputs = self.stage(stage).into_iter().flat_map(|stage| stage.outputs.values());
        outputs.map(|record| record.attempt()).collect()
    }

    /// The attempts of a stage of the query that a worker ever reported.
    pub fn attempts_of(
        &self,
        query: QueryId,
        stage: StageId,
    ) -> impl Iterator<Item = (&AttemptId, &AttemptRecord)> {
        let first = |stage| AttemptId {
            task: TaskId { query, stage, partition: 0 },
            generation: 0,
            epoch: Epoch(0),
            number: 0,
        };
        self.attempts.range(first(stage)..first(StageId(stage.0.saturating_add(1))))
    }

    /// The decided outputs of a stage whose attempts are known from their commit records only: they ended under another
    /// coordinator than the one of that life.
    pub fn inherited_outputs(&self, stage: StageId, life: Epoch) -> impl Iterator<Item = &CommitRecord> {
        let outputs = self.stage(stage).into_iter().flat_map(|stage| stage.outputs.values());
        outputs.map(AsRef::as_ref).filter(move |output: &&CommitRecord| {
            output.attempt().epoch < life && !self.attempts.contains_key(&output.attempt())
        })
    }

    /// A scan, if the query has it.
    pub fn scan_mut(&mut self, stage: StageId, scan: u32) -> Option<&mut ExecutionScan> {
        self.stages.get_mut(stage.0 as usize)?.scans.get_mut(scan as usize)
    }
}
