//! Running one attempt: from the descriptor to the commit.

mod counters;
mod inputs;
mod progress;
mod sink;

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use base::{AttemptId, Error, ErrorCode, Result};
use bytes::Bytes;
use connector::error::from_datafusion;
use connector::{Catalogs, Split};
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use exchange::{Committed, ExchangeManager, ExchangeSink, ReadOptions, SinkOptions, SourceHandle};
use futures::FutureExt;
use operators::{Fragment, TaskInputsExtension, config_from_options, decode_fragment, task_context};
use tokio_util::sync::CancellationToken;

use self::counters::AttemptCounters;
use self::inputs::AttemptInputs;
pub(crate) use self::progress::AttemptProgress;
use crate::options::{FailureInjection, InjectedAction};
use crate::spill::{SpillDirectory, SpillFiles};

/// The sink may hold this part of the lease at most, so that it leaves room for operators.
const SINK_LEASE_DIVISOR: u64 = 4;

/// What attempts share.
pub(crate) struct AttemptEnvironment {
    pub(crate) catalogs: Catalogs,
    pub(crate) exchange: Arc<ExchangeManager>,
    pub(crate) sink_options: SinkOptions,
    pub(crate) read_options: ReadOptions,
    /// Where this life of the worker spills.
    pub(crate) spill_directory: PathBuf,
    pub(crate) spill_bytes_max: u64,
    /// What all attempts may share: object stores and caches.
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) failure_injections: Vec<FailureInjection>,
}

impl AttemptEnvironment {
    /// The state of an attempt that is about to start.
    pub(crate) fn progress(&self, attempt: AttemptId, memory_bytes: u64) -> Arc<AttemptProgress> {
        let directory = self.spill_directory.join(attempt.to_string());
        AttemptProgress::new(memory_bytes, SpillDirectory::new(directory, self.spill_bytes_max))
    }

    /// Where the sink of an attempt spills. It is beside the operators' directory and not in it, because each is
    /// removed by its own owner: a file that is still being made when the attempt is cut takes its directory along.
    fn sink_spill_directory(&self, attempt: AttemptId) -> PathBuf {
        self.spill_directory.join(format!("{attempt}-sink"))
    }
}

/// What an attempt is to do.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    pub(crate) attempt: AttemptId,
    /// The lease, in bytes.
    pub(crate) memory_bytes: u64,
    /// The fragment, encoded.
    pub(crate) fragment: Bytes,
    /// For each scan of the fragment, the splits to read.
    pub(crate) scans: Vec<Vec<Split>>,
    /// For each input of the fragment, the encoded source handles, in the order to read.
    pub(crate) sources: Vec<Vec<Bytes>>,
}

/// Runs an attempt to its end. Nothing but a committed output is left behind.
///
/// A cancelled attempt stops at the next point where it waits or yields. One that has begun to commit goes on: what
/// others see of the commit must not depend on where it was cut.
pub(crate) async fn run(
    environment: Arc<AttemptEnvironment>,
    descriptor: Descriptor,
    progress: Arc<AttemptProgress>,
    cancelled: CancellationToken,
) -> Result<Committed> {
    let attempt = Attempt { environment: &environment, descriptor: &descriptor, progress: &progress };
    let outcome = without_panic(attempt.run(&cancelled)).await;
    progress.ended();
    outcome
}

struct Attempt<'a> {
    environment: &'a AttemptEnvironment,
    descriptor: &'a Descriptor,
    progress: &'a AttemptProgress,
}

impl Attempt<'_> {
    async fn run(&self, cancelled: &CancellationToken) -> Result<Committed> {
        self.fail_if_injected()?;
        let (fragment, context) = self.prepare()?;
        let mut sink = self.open_sink(&fragment)?;
        match self.execute(fragment, context, &mut sink, cancelled).await {
            Ok(()) => {
                self.progress.counters.sink_spilled_bytes.add(sink.metrics().spilled_bytes);
                let committed = sink.finish().await?;
                if committed.winner == self.descriptor.attempt {
                    self.progress.counters.output_stored_bytes.add(committed.record.stored_bytes());
                    self.progress.counters.output_objects.add(committed.record.object_count());
                }
                Ok(committed)
            }
            Err(error) => {
                if let Err(left) = sink.abort().await {
                    tracing::warn!(attempt = %self.descriptor.attempt, error = %left, "output of an attempt is left");
                }
                Err(error)
            }
        }
    }

    /// Everything between the opening of the sink and its commit. Stops when cancelled; does not panic.
    async fn execute(
        &self,
        fragment: Fragment,
        context: Arc<TaskContext>,
        sink: &mut ExchangeSink,
        cancelled: &CancellationToken,
    ) -> Result<()> {
        let work = async {
            let counters = &*self.progress.counters;
            let pumped = sink::pump(fragment.plan, context, &fragment.sink, sink, counters);
            timed(pumped, counters).await?;
            self.delay_if_injected().await;
            Ok(())
        };
        tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(cancelled_error()),
            done = without_panic(work) => done,
        }
    }

    /// A plan of its own for this attempt, and the context it runs in.
    fn prepare(&self) -> Result<(Fragment, Arc<TaskContext>)> {
        let pool: Arc<dyn MemoryPool> = Arc::clone(&self.progress.pool) as _;
        let spill = SpillFiles(Arc::clone(&self.progress.spill));
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Custom(Arc::new(spill)));
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.environment.runtime)
            .with_memory_pool(pool)
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(|error| from_datafusion(&error))?;
        let decoding = task_context(SessionConfig::new(), Arc::clone(&runtime));
        let fragment = decode_fragment(&self.descriptor.fragment, &decoding)?;
        self.progress.plan_decoded(Arc::clone(&fragment.plan));
        let config = config_from_options(&fragment.options)?
            .with_extension(Arc::new(TaskInputsExtension(Arc::new(self.inputs()?))));
        let context = task_context(config, runtime).with_task_id(self.descriptor.attempt.to_string());
        Ok((fragment, Arc::new(context)))
    }

    fn inputs(&self) -> Result<AttemptInputs> {
        let decode = |handles: &Vec<Bytes>| -> Result<Vec<SourceHandle>> {
            handles.iter().map(|handle| SourceHandle::decode(handle)).collect()
        };
        Ok(AttemptInputs {
            catalogs: self.environment.catalogs.clone(),
            scans: self.descriptor.scans.iter().cloned().map(Into::into).collect(),
            sources: self.descriptor.sources.iter().map(decode).collect::<Result<_>>()?,
            exchange: Arc::clone(&self.environment.exchange),
            read_options: self.environment.read_options,
            counters: Arc::clone(&self.progress.counters),
        })
    }

    fn open_sink(&self, fragment: &Fragment) -> Result<ExchangeSink> {
        let pool: Arc<dyn MemoryPool> = Arc::clone(&self.progress.pool) as _;
        let mut options = self.environment.sink_options.clone();
        let part_of_lease = self.descriptor.memory_bytes / SINK_LEASE_DIVISOR;
        options.sink_memory_bytes_max = options.sink_memory_bytes_max.min(part_of_lease);
        options.spill_directory = self.environment.sink_spill_directory(self.descriptor.attempt);
        options.memory = Some(Arc::new(sink::PoolCharge::new(&pool)));
        let partitions = fragment.sink.partitions();
        self.environment.exchange.sink(self.descriptor.attempt, fragment.plan.schema(), partitions, options)
    }

    fn injected(&self) -> impl Iterator<Item = InjectedAction> {
        let injections = self.environment.failure_injections.iter();
        injections.filter(|each| each.matches(&self.descriptor.attempt)).map(|each| each.action)
    }

    fn fail_if_injected(&self) -> Result<()> {
        for action in self.injected() {
            match action {
                InjectedAction::Fail(code) => return Err(Error::new(code, "This error is injected")),
                #[allow(clippy::panic, reason = "this is what was asked for")]
                InjectedAction::Panic => panic!("This panic is injected"),
                InjectedAction::DelayCommit(_) => {}
            }
        }
        Ok(())
    }

    async fn delay_if_injected(&self) {
        for action in self.injected() {
            if let InjectedAction::DelayCommit(delay) = action {
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// What a cancelled attempt ends with. Nobody is told: the coordinator does not want the attempt any more.
fn cancelled_error() -> Error {
    Error::new(ErrorCode::ABANDONED_TASK, "The attempt was cancelled")
}

/// The same future, but a panic in it is an error.
async fn without_panic<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|panic| Err(panic_error(panic.as_ref())))
}

/// What a panic said, as an internal error.
pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned());
    Error::internal(format!("An operator panicked: {text}"))
}

/// The same future, adding the time it computes to the counters.
async fn timed<T>(future: impl Future<Output = T>, counters: &AttemptCounters) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let start = Instant::now();
        let polled = future.as_mut().poll(context);
        counters.add_cpu_time(start.elapsed());
        polled
    })
    .await
}
