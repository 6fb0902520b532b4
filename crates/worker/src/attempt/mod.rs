//! Running one attempt: from the descriptor to the commit.

mod counters;
mod descriptor;
mod inputs;
mod progress;
mod sink;
mod waits;

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use base::{AttemptId, Error, ErrorCode, Failure, Result};
use connector::Catalogs;
use connector::error::from_datafusion;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use exchange::direct::{
    ConsumerId, DirectExchange, DirectReadOptions, DirectSink, DirectSinkOptions, DirectSource, OutputHandle,
    OutputLayout, OutputSlice,
};
use exchange::{Committed, ExchangeManager, ExchangeSink, ReadOptions, SinkOptions, SourceHandle};
use futures::FutureExt;
use operators::{Fragment, Sink, TaskInputsExtension, config_from_options, decode_fragment, task_context};
use protocol::direct::DirectTransports;
use tokio_util::sync::CancellationToken;

use self::counters::AttemptCounters;
pub(crate) use self::descriptor::{Descriptor, Input, MemoryGrant, OutputKind, Producer};
use self::inputs::{AttemptInputs, DirectInput, InputSources};
pub(crate) use self::progress::AttemptProgress;
use self::sink::AttemptSink;
use crate::options::{FailureInjection, InjectedAction};
use crate::pool::{AttemptPool, BufferCharge, QueryPools, SinkCharge, WorkerMemory};
use crate::spill::{SpillDirectory, SpillFiles};

/// The sink may hold this part of the memory of the attempt at most, so that it leaves room for operators.
const SINK_MEMORY_DIVISOR: u64 = 4;

/// What attempts share.
pub(crate) struct AttemptEnvironment {
    pub(crate) catalogs: Catalogs,
    pub(crate) exchange: Arc<ExchangeManager>,
    pub(crate) sink_options: SinkOptions,
    pub(crate) read_options: ReadOptions,
    pub(crate) direct: DirectEnvironment,
    /// Where this life of the worker spills.
    pub(crate) spill_directory: PathBuf,
    pub(crate) spill_bytes_max: u64,
    pub(crate) memory: Arc<WorkerMemory>,
    pub(crate) query_pools: QueryPools,
    /// What all attempts may share: object stores and caches.
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) failure_injections: Vec<FailureInjection>,
}

/// How attempts exchange rows with attempts that run at the same time.
pub(crate) struct DirectEnvironment {
    /// The outputs of this life of the worker.
    pub(crate) outputs: DirectExchange,
    pub(crate) transports: DirectTransports,
    pub(crate) sink_options: DirectSinkOptions,
    pub(crate) read_options: DirectReadOptions,
}

impl AttemptEnvironment {
    /// The state of an attempt that is about to start.
    pub(crate) fn progress(&self, attempt: AttemptId, memory: MemoryGrant) -> Arc<AttemptProgress> {
        let directory = self.spill_directory.join(attempt.to_string());
        let pool = match memory {
            MemoryGrant::Lease(bytes) => AttemptPool::with_lease(bytes, &self.memory),
            MemoryGrant::Query { bytes, attempts } => {
                let pool = self.query_pools.of(attempt.task.query, bytes, attempts);
                AttemptPool::of_query(&pool, &self.memory)
            }
        };
        AttemptProgress::new(pool, SpillDirectory::new(directory, self.spill_bytes_max))
    }

    /// Where the sink of an attempt spills. It is beside the operators' directory and not in it, because each is
    /// removed by its own owner: a file that is still being made when the attempt is cut takes its directory along.
    fn sink_spill_directory(&self, attempt: AttemptId) -> PathBuf {
        self.spill_directory.join(format!("{attempt}-sink"))
    }
}

/// What an attempt that ended well leaves.
#[derive(Debug)]
pub(crate) enum Output {
    Committed(Committed),
    /// Its consumers have read all they want.
    Streamed {
        /// Who asks late finds it as long as this is there.
        handle: OutputHandle,
    },
}

/// Runs an attempt to its end. Nothing but its output is left behind.
///
/// A cancelled attempt stops at the next point where it waits or yields. One that has begun to commit goes on: what
/// others see of the commit must not depend on where it was cut.
pub(crate) async fn run(
    environment: Arc<AttemptEnvironment>,
    descriptor: Descriptor,
    progress: Arc<AttemptProgress>,
    cancelled: CancellationToken,
) -> Result<Output, Failure> {
    let attempt = Attempt { environment: &environment, descriptor: &descriptor, progress: &progress };
    let outcome = without_panic(attempt.run(&cancelled)).await;
    progress.ended();
    outcome.map_err(|error| progress.judge(error))
}

struct Attempt<'a> {
    environment: &'a AttemptEnvironment,
    descriptor: &'a Descriptor,
    progress: &'a AttemptProgress,
}

impl Attempt<'_> {
    async fn run(&self, cancelled: &CancellationToken) -> Result<Output> {
        self.fail_if_injected()?;
        let (fragment, context) = self.prepare()?;
        match self.descriptor.output {
            OutputKind::Committed { unstored_bytes_max } => {
                let sink = self.open_sink(&fragment, unstored_bytes_max)?;
                Box::pin(self.commit(fragment, context, sink, cancelled)).await.map(Output::Committed)
            }
            OutputKind::Direct { broadcast_consumers } => {
                let (sink, handle) = self.open_direct(&fragment, broadcast_consumers)?;
                Box::pin(self.stream(fragment, context, sink, &handle, cancelled)).await?;
                Ok(Output::Streamed { handle })
            }
        }
    }

    /// Runs the plan and commits what it gives.
    async fn commit(
        &self,
        fragment: Fragment,
        context: Arc<TaskContext>,
        mut sink: ExchangeSink,
        cancelled: &CancellationToken,
    ) -> Result<Committed> {
        let to = AttemptSink::Committed(&mut sink);
        match self.execute(fragment, context, to, cancelled).await {
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

    /// Runs the plan until its consumers have all they want.
    async fn stream(
        &self,
        fragment: Fragment,
        context: Arc<TaskContext>,
        mut sink: DirectSink,
        handle: &OutputHandle,
        cancelled: &CancellationToken,
    ) -> Result<()> {
        let to = AttemptSink::Direct(&mut sink);
        let executed = tokio::select! {
            biased;
            () = handle.satisfied() => Ok(()),
            executed = self.execute(fragment, context, to, cancelled) => executed,
        };
        self.progress.plan_ended();
        let finished = match executed {
            Ok(()) => sink.finish().await,
            Err(error) => {
                sink.fail(self.progress.judge(error.clone()));
                Err(error)
            }
        };
        let counters = &self.progress.counters;
        counters.output_stored_bytes.add(handle.metrics().stored_bytes);
        finished?;
        tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(cancelled_error()),
            () = counters.waits.during(handle.satisfied()) => Ok(()),
        }
    }

    /// Everything between the opening of the sink and the end of its rows. Stops when cancelled; does not panic.
    async fn execute(
        &self,
        fragment: Fragment,
        context: Arc<TaskContext>,
        sink: AttemptSink<'_>,
        cancelled: &CancellationToken,
    ) -> Result<()> {
        let work = async {
            let counters = &*self.progress.counters;
            let pumped = sink::pump(fragment.plan, context, &fragment.sink, sink, counters);
            timed(pumped, counters).await?;
            // What operators hold is not needed while the output is completed.
            self.progress.plan_ended();
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
        let fragment = decode_fragment(&self.descriptor.fragment)?;
        self.progress.plan_decoded(Arc::clone(&fragment.plan));
        let config = config_from_options(&fragment.options)?
            .with_extension(Arc::new(TaskInputsExtension(Arc::new(self.inputs()?))));
        let context = task_context(config, runtime).with_task_id(self.descriptor.attempt.to_string());
        Ok((fragment, Arc::new(context)))
    }

    fn inputs(&self) -> Result<AttemptInputs> {
        let direct = &self.environment.direct;
        let memory = Arc::new(BufferCharge::new(&self.progress.pool));
        Ok(AttemptInputs {
            catalogs: self.environment.catalogs.clone(),
            scans: self.descriptor.scans.iter().cloned().map(Into::into).collect(),
            inputs: self.descriptor.inputs.iter().map(|input| self.sources(input)).collect::<Result<_>>()?,
            exchange: Arc::clone(&self.environment.exchange),
            read_options: self.environment.read_options,
            direct_options: DirectReadOptions { memory: Some(memory), ..direct.read_options.clone() },
            counters: Arc::clone(&self.progress.counters),
            input_failure: Arc::clone(&self.progress.input_failure),
        })
    }

    fn sources(&self, input: &Input) -> Result<InputSources> {
        let task = self.descriptor.attempt.task;
        let consumer = ConsumerId::of_task(task.stage, task.partition);
        let source = |producer: &Producer| {
            let partitions = producer.partitions.clone();
            Ok(DirectSource {
                slice: OutputSlice { producer: producer.attempt, consumer, partitions },
                transport: self.environment.direct.transports.to(&producer.uri, producer.incarnation)?,
            })
        };
        Ok(match input {
            Input::Committed(handles) => {
                let decoded = handles.iter().map(|handle| SourceHandle::decode(handle));
                InputSources::Committed(decoded.collect::<Result<_>>()?)
            }
            Input::Direct(producers) => {
                InputSources::Direct(DirectInput::new(producers.iter().map(source).collect::<Result<_>>()?))
            }
        })
    }

    fn open_sink(&self, fragment: &Fragment, unstored_bytes_max: u64) -> Result<ExchangeSink> {
        let mut options = self.environment.sink_options.clone();
        let (MemoryGrant::Lease(bytes) | MemoryGrant::Query { bytes, .. }) = self.descriptor.memory;
        options.sink_memory_bytes_max = options.sink_memory_bytes_max.min(bytes / SINK_MEMORY_DIVISOR);
        options.unstored_bytes_max = unstored_bytes_max;
        options.spill_directory = self.environment.sink_spill_directory(self.descriptor.attempt);
        options.memory = Some(Arc::new(SinkCharge::new(&self.progress.pool)));
        let partitions = fragment.sink.partitions();
        self.environment.exchange.sink(self.descriptor.attempt, fragment.plan.schema(), partitions, options)
    }

    fn open_direct(
        &self,
        fragment: &Fragment,
        broadcast_consumers: u32,
    ) -> Result<(DirectSink, OutputHandle)> {
        let layout = match &fragment.sink {
            Sink::Single if broadcast_consumers > 0 => OutputLayout::Broadcast,
            Sink::Single => OutputLayout::Single,
            Sink::Hash { partitions, .. } => OutputLayout::Partitioned { partitions: *partitions },
        };
        let direct = &self.environment.direct;
        let memory = Arc::new(BufferCharge::new(&self.progress.pool));
        let options = DirectSinkOptions { memory: Some(memory), ..direct.sink_options.clone() };
        let (sink, handle) = direct.outputs.create_output(
            self.descriptor.attempt,
            fragment.plan.schema(),
            layout,
            &options,
        )?;
        if layout == OutputLayout::Broadcast {
            handle.set_consumer_count(broadcast_consumers);
        }
        Ok((sink, handle))
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
fn panic_error(panic: &(dyn Any + Send)) -> Error {
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
