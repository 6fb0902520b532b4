//! Queries whose stages run at the same time: what workers are told of them, and where their result goes.

use base::{AttemptId, DataSize, Error, StageId};
use config::{MemoryConfig, MemoryShare};
use exchange::{CommitRecord, OutputLocation};
use protocol::node::wire::assignment::Output;
use protocol::node::{MESSAGE_BYTES_MAX, wire};
use scheduler::{InputShape, RetryPolicy};

use super::memory::QueryMemoryLimits;
use super::region::{Producer, Region};

/// The root of every query.
const ROOT: StageId = StageId(0);

/// No task sends more than this in its report, in bytes: the message must have room for the rest of it.
const INLINE_BYTES_MAX: u64 = MESSAGE_BYTES_MAX as u64 / 4 * 3;

/// The settings of a query whose stages run at the same time.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// `retry_policy`: whether the result is kept until the query has finished.
    pub retry_policy: RetryPolicy,
    /// `exchange.deduplication-buffer-size`: how much of a result that is kept is in memory, in bytes.
    pub result_bytes_max: u64,
    /// Whether the rest goes through the store. If not, there can be no rest.
    pub has_exchange_manager: bool,
    /// How the memory of a node is divided.
    pub memory: MemoryConfig,
    /// `query_max_memory_per_node`: what all attempts of the query on a node may use together.
    pub query_memory_per_node: MemoryShare,
    /// What they may use on all nodes together.
    pub query_memory: QueryMemoryLimits,
}

/// A query whose stages run at the same time.
#[derive(Debug)]
pub struct Pipeline {
    options: PipelineOptions,
    region: Region,
    /// How often it was tried again.
    retries: u32,
}

impl Pipeline {
    /// Nothing of it runs yet.
    pub fn new(options: PipelineOptions) -> Self {
        Pipeline { options, region: Region::default(), retries: 0 }
    }

    /// The attempts that run now take the place of those that did.
    pub fn start(&mut self, region: Region) {
        if self.region.task_count(ROOT) > 0 {
            self.retries += 1;
        }
        self.region = region;
    }

    /// How often the query was tried again.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// The attempts that run.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The attempts that the client's rows are read from while they run, if they are.
    pub fn streamed_root(&self) -> Option<Vec<Producer>> {
        let is_streamed = !self.is_committed(ROOT);
        is_streamed.then(|| self.region.of_stage(ROOT).cloned().collect())
    }

    /// Whether the output of a stage is committed: that of the root under `QUERY`.
    pub fn is_committed(&self, stage: StageId) -> bool {
        stage == ROOT && self.options.retry_policy == RetryPolicy::Query
    }

    /// Where the output of an attempt goes. `inputs` are those of each stage.
    pub fn output_of<'a>(
        &self,
        attempt: AttemptId,
        inputs: impl IntoIterator<Item = (StageId, &'a [InputShape])>,
    ) -> Output {
        let stage = attempt.task.stage;
        if self.is_committed(stage) {
            return Output::CommittedOutput(wire::CommittedOutput {
                inline_bytes_max: self.inline_bytes_max(),
            });
        }
        let broadcast_consumers = self.region.broadcast_consumers(stage, inputs);
        Output::DirectOutput(wire::DirectOutput { broadcast_consumers })
    }

    /// How much of the result one task may send in its report. All together send no more than is kept in memory, if
    /// what is larger can go elsewhere.
    fn inline_bytes_max(&self) -> u64 {
        let bytes_max = match self.options.has_exchange_manager {
            true => self.options.result_bytes_max / u64::from(self.region.task_count(ROOT).max(1)),
            false => self.options.result_bytes_max,
        };
        bytes_max.min(INLINE_BYTES_MAX)
    }

    /// Looks whether a result that was reported so far can be kept: fails without an exchange manager where it is
    /// larger than what is kept in memory.
    pub fn check_result<'a>(
        &self,
        reported: impl IntoIterator<Item = &'a CommitRecord>,
    ) -> Result<(), Error> {
        if self.options.has_exchange_manager {
            return Ok(());
        }
        let of_now = reported.into_iter().filter(|record| self.region.contains(&record.attempt()));
        let bytes: u64 = of_now.map(inline_bytes).sum();
        match bytes > self.options.result_bytes_max {
            true => Err(Error::exchange_manager_not_configured()),
            false => Ok(()),
        }
    }

    /// What all attempts of the query may use together on all nodes.
    pub fn memory_limits(&self) -> QueryMemoryLimits {
        self.options.query_memory
    }

    /// What all attempts of the query may use together on a node whose memory for tasks is that.
    pub fn query_memory_bytes(&self, node_bytes: u64) -> u64 {
        let PipelineOptions { memory, query_memory_per_node, .. } = &self.options;
        memory.query_share_of_pool(*query_memory_per_node, DataSize(node_bytes)).0
    }
}

fn inline_bytes(record: &CommitRecord) -> u64 {
    match record.location() {
        OutputLocation::Inline(frames) => frames.len() as u64,
        OutputLocation::Object { .. } => 0,
    }
}
