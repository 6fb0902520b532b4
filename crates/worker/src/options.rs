//! What a worker needs to know.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{AttemptId, DataSize, ErrorCode, NodeId, StageId};
use connector::Catalogs;
use exchange::direct::{DirectReadOptions, DirectSinkOptions};
use exchange::{ExchangeManager, ReadOptions, SinkOptions};
use protocol::node::SharedSecret;
use scheduler::Capacity;

/// What a worker needs to know.
#[derive(Debug)]
pub struct WorkerOptions {
    /// `node.id`. Two lives of one node have the same.
    pub node_id: NodeId,
    /// `node.environment`
    pub environment: String,
    /// The build. The coordinator takes only workers of its own.
    pub build: String,
    /// `discovery.uri`: where the coordinator listens, as `http://host:port`.
    pub coordinator_uri: String,
    /// Where to serve `/v1/info` and `/v1/status`, and outputs to other nodes: a socket that is bound already.
    pub http_listener: TcpListener,
    /// How many connections to it may be open.
    pub connection_count_max: usize,
    /// Under which address others reach `http_listener`, as `http://host:port`. None: the address it is bound to.
    pub http_uri: Option<String>,
    /// What the worker can carry. As many attempts as slots compute at the same time.
    pub capacity: Capacity,
    /// The catalogs.
    pub catalogs: Catalogs,
    /// The exchange.
    pub exchange: Arc<ExchangeManager>,
    /// How attempts write. The worker sets the spill directory and the memory of each attempt itself.
    pub sink_options: SinkOptions,
    /// How attempts read.
    pub read_options: ReadOptions,
    /// How attempts write what is read at the same time. The worker sets the memory of each attempt itself.
    pub direct_sink_options: DirectSinkOptions,
    /// How attempts read what is written at the same time. The worker sets the memory of each attempt itself.
    pub direct_read_options: DirectReadOptions,
    /// `spiller-spill-path`: where operators and sinks put what does not fit in memory.
    pub spill_directory: PathBuf,
    /// `max-spill-per-node` for one attempt, in bytes.
    pub spill_bytes_max: DataSize,
    /// An attempt that does nothing for so long is failed.
    pub no_progress_timeout: Duration,
    /// `shutdown.grace-period`: how long attempts may run on when the worker drains or shuts down.
    pub drain_grace: Duration,
    /// `internal-communication.shared-secret`
    pub shared_secret: Option<SharedSecret>,
    /// Failures to cause, for tests.
    pub failure_injections: Vec<FailureInjection>,
}

/// Makes some attempts fail or wait. What is None matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureInjection {
    /// The stage.
    pub stage: Option<StageId>,
    /// The partition of the stage.
    pub partition: Option<u32>,
    /// The number of the attempt, counted from 0 over all tries of its query.
    pub number: Option<u32>,
    /// What happens.
    pub action: InjectedAction,
}

/// What a [`FailureInjection`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedAction {
    /// The attempt fails before it reads anything.
    Fail(ErrorCode),
    /// The attempt panics before it reads anything.
    Panic,
    /// The attempt waits for so long before it commits.
    DelayCommit(Duration),
}

impl FailureInjection {
    /// Whether it is meant for that attempt.
    pub fn matches(&self, attempt: &AttemptId) -> bool {
        self.stage.is_none_or(|stage| stage == attempt.task.stage)
            && self.partition.is_none_or(|partition| partition == attempt.task.partition)
            && self.number.is_none_or(|number| number == attempt.generation + attempt.number)
    }
}

#[cfg(test)]
mod tests {
    use base::{Epoch, TaskId};

    use super::*;

    #[test]
    fn an_injection_matches_what_it_names() {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(2), partition: 3 };
        let attempt = AttemptId { task, generation: 0, epoch: Epoch(1), number: 1 };
        let all =
            FailureInjection { stage: None, partition: None, number: None, action: InjectedAction::Panic };
        assert!(all.matches(&attempt));
        let these = FailureInjection { stage: Some(StageId(2)), partition: Some(3), number: Some(1), ..all };
        assert!(these.matches(&attempt));
        let others = [(Some(1), Some(3), Some(1)), (Some(2), Some(2), None), (None, None, Some(0))];
        for (stage, partition, number) in others {
            let other = FailureInjection { stage: stage.map(StageId), partition, number, action: all.action };
            assert!(!other.matches(&attempt), "{other:?}");
        }
    }
}
