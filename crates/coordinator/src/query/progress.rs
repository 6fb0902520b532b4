//! How far a query is, for people: progress bars, `EXPLAIN ANALYZE`, system tables.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use base::{AttemptId, NodeId, QueryId, StageId, TaskId};
use protocol::client::{StageStats, StatementStats};
use scheduler::{AttemptState, QueryView, StageState, TaskView};

use super::work::{Work, failed_work};
use super::{Query, QueryState};
use crate::dispatch::{AttemptCounts, DispatchState, Execution, Pipeline};
use crate::services::Services;

/// How far the stages of a query are.
#[derive(Clone, Debug, Default)]
pub struct QueryProgress {
    /// The stages by id. Empty before the query was handed to the scheduler.
    pub stages: Vec<StageProgress>,
    /// Workers that run or ran attempts.
    pub nodes: BTreeSet<NodeId>,
    /// The sum over all running attempts of the memory they use at most, at the time of looking.
    pub memory_bytes: u64,
    /// The greatest such sum that was seen.
    pub peak_memory_bytes: u64,
    /// How often the query was tried again as a whole.
    pub retries: u32,
    /// Of a query whose stages run at the same time: how many splits its attempts have read, and are to read.
    pub splits: Option<(u64, u64)>,
    /// The attempts, if they were asked for; no more than [`ATTEMPT_COUNT_MAX`].
    pub attempts: Vec<AttemptProgress>,
}

/// How many attempts of a query are told of at most.
pub const ATTEMPT_COUNT_MAX: usize = 10_000;

/// An attempt, running or ended.
#[derive(Clone, Debug)]
pub struct AttemptProgress {
    /// The attempt.
    pub id: AttemptId,
    /// Where it was placed.
    pub node: NodeId,
    /// How it stands.
    pub state: AttemptState,
    /// When it was placed.
    pub started: SystemTime,
    /// When it was known to have ended.
    pub ended: Option<SystemTime>,
}

/// How far a stage is.
#[derive(Clone, Debug)]
pub struct StageProgress {
    /// The stage.
    pub id: StageId,
    /// The stages it reads from.
    pub producers: Vec<StageId>,
    /// How it stands.
    pub state: StageState,
    /// Whether there will be no more tasks than are known.
    pub sealed: bool,
    /// Tasks that are known.
    pub tasks: u32,
    /// Tasks that run.
    pub running_tasks: u32,
    /// Tasks that are done.
    pub finished_tasks: u32,
    /// Attempts that were started.
    pub attempts: u32,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// Attempts whose worker vanished.
    pub lost_attempts: u32,
    /// Attempts that nobody wanted any more.
    pub aborted_attempts: u32,
    /// Workers that run or ran attempts.
    pub nodes: BTreeSet<NodeId>,
    /// What its attempts have done. Attempts that were lost count too: they cost as much.
    pub work: Work,
    /// The part of that which attempts did that failed or whose worker vanished.
    pub failed_work: Work,
    /// Rows that its committed tasks wrote.
    pub output_rows: u64,
    /// Bytes that its committed tasks wrote, before compression.
    pub output_bytes: u64,
}

impl QueryProgress {
    /// How far a query is. None if the scheduler does not know it.
    pub fn of(state: &DispatchState, query: QueryId) -> Option<Self> {
        let view = state.core().query(&query)?;
        let execution = state.execution(&query)?;
        let retries = execution.pipeline.as_ref().map_or(0, Pipeline::retries);
        let splits = execution.pipeline.is_some().then(|| splits_of(view, execution));
        let mut progress = QueryProgress { retries, splits, ..QueryProgress::default() };
        for stage in view.stages() {
            let mut nodes = BTreeSet::new();
            let mut work = Work::default();
            for (_, attempt) in execution.attempts_of(query, stage.id) {
                nodes.insert(attempt.node.clone());
                work.add(&attempt.stats);
                if attempt.is_running {
                    progress.memory_bytes += attempt.peak_memory_bytes;
                }
            }
            for output in execution.inherited_outputs(stage.id, state.epoch()) {
                work.add_inherited(output);
            }
            progress.nodes.extend(nodes.iter().cloned());
            progress.stages.push(StageProgress {
                id: stage.id,
                producers: producers(execution, stage.id),
                state: stage.state,
                sealed: stage.sealed,
                tasks: stage.tasks_total,
                running_tasks: stage.counts.running,
                finished_tasks: stage.counts.committed,
                attempts: stage.counts.started_attempts,
                failed_attempts: stage.counts.failed_attempts,
                lost_attempts: stage.counts.lost_attempts,
                aborted_attempts: stage.counts.aborted_attempts,
                nodes,
                work,
                failed_work: failed_work(execution, query, &stage),
                output_rows: stage.output_rows,
                output_bytes: stage.output_bytes,
            });
        }
        progress.peak_memory_bytes = progress.memory_bytes;
        Some(progress)
    }

    fn attempts_of(state: &DispatchState, query: QueryId) -> Vec<AttemptProgress> {
        let stages = state.core().query(&query).into_iter().flat_map(|view| view.stages());
        let attempts = stages.flat_map(|stage| {
            stage.tasks().flat_map(move |task| {
                task.attempts.iter().map(move |attempt| AttemptProgress {
                    id: AttemptId {
                        task: TaskId { query, stage: stage.id, partition: task.partition },
                        generation: attempt.generation,
                        epoch: attempt.epoch,
                        number: attempt.number,
                    },
                    node: attempt.node.clone(),
                    state: attempt.state,
                    started: state.system_time(attempt.started_at),
                    ended: attempt.ended_at.map(|at| state.system_time(at)),
                })
            })
        });
        attempts.take(ATTEMPT_COUNT_MAX).collect()
    }

    /// Looks again how far a query is, attempt by attempt, and remembers it.
    pub async fn refresh_with_attempts(services: &Services, query: &Arc<Query>) {
        Self::look(services, query, true).await;
    }

    /// Looks again how far a query is, and remembers it. What is remembered of its attempts stays.
    pub async fn refresh(services: &Services, query: &Arc<Query>) {
        Self::look(services, query, false).await;
    }

    /// Remembers what is seen within the loop, so that no older look can replace a newer one. A query that has ended
    /// stays as it was seen then.
    async fn look(services: &Services, query: &Arc<Query>, with_attempts: bool) {
        if query.root().is_none_or(|root| root.outcome().is_some()) {
            return;
        }
        let query = Arc::clone(query);
        let looked = services.dispatcher.inspect(move |state| Self::see(state, &query, with_attempts));
        // Without a scheduler the process is ending, and whoever asks is told what is known.
        let _ = looked.await;
    }

    /// Remembers how far a query is. To be called within the loop.
    pub fn see(state: &DispatchState, query: &Query, with_attempts: bool) {
        let Some(mut progress) = Self::of(state, query.id) else { return };
        let attempts = with_attempts.then(|| Self::attempts_of(state, query.id));
        query.update_progress(|known| {
            progress.attempts = attempts.unwrap_or_else(|| std::mem::take(&mut known.attempts));
            progress.peak_memory_bytes = progress.memory_bytes.max(known.peak_memory_bytes);
            *known = progress;
        });
    }

    /// The work of all stages.
    pub fn work(&self) -> Work {
        self.sum(|stage| &stage.work)
    }

    /// The part of it which attempts did that failed or whose worker vanished.
    pub fn failed_work(&self) -> Work {
        self.sum(|stage| &stage.failed_work)
    }

    fn sum(&self, of: impl Fn(&StageProgress) -> &Work) -> Work {
        let mut work = Work::default();
        for stage in &self.stages {
            work.add_all(of(stage));
        }
        work
    }

    /// The attempts of all stages.
    pub fn attempt_counts(&self) -> AttemptCounts {
        let mut counts = AttemptCounts::default();
        for stage in &self.stages {
            counts.started += u64::from(stage.attempts);
            counts.failed += u64::from(stage.failed_attempts);
            counts.lost += u64::from(stage.lost_attempts);
            counts.aborted += u64::from(stage.aborted_attempts);
        }
        counts
    }

    /// How much is done, in percent. None before there is a task.
    fn percentage(&self) -> Option<f64> {
        // The number of tasks of a stage is not known before its inputs are complete, so stages count alike.
        if self.stages.iter().all(|stage| stage.tasks == 0) {
            return None;
        }
        // Where all stages run at the same time, no task ends before nearly all of them do.
        if let Some((read, total)) = self.splits.filter(|(_, total)| *total > 0) {
            return Some(100.0 * read.min(total) as f64 / total as f64);
        }
        let done: f64 = self.stages.iter().map(StageProgress::done_fraction).sum();
        Some(100.0 * done / self.stages.len() as f64)
    }

    /// The document that clients see.
    pub fn statement_stats(&self, query: &Query) -> StatementStats {
        let status = query.status();
        let times = &status.times;
        let work = self.work();
        let sum = |of: fn(&StageProgress) -> u32| self.stages.iter().map(of).map(u64::from).sum::<u64>();
        let now = times.ended_at.unwrap_or_else(std::time::Instant::now);
        let planning_at = times.planning_at.unwrap_or(now);
        let finished = status.state == QueryState::Finished;
        let percentage = self.percentage().map(|done| if finished { 100.0 } else { done });
        StatementStats {
            state: status.state.as_str().to_string(),
            queued: status.state == QueryState::Queued,
            scheduled: self.stages.iter().all(|stage| stage.sealed) && !self.stages.is_empty(),
            progress_percentage: percentage,
            running_percentage: percentage.map(|_| match sum(|stage| stage.tasks) {
                0 => 0.0,
                tasks => 100.0 * sum(|stage| stage.running_tasks) as f64 / tasks as f64,
            }),
            nodes: self.nodes.len() as u64,
            total_splits: sum(|stage| stage.tasks),
            queued_splits: sum(StageProgress::queued_tasks),
            running_splits: sum(|stage| stage.running_tasks),
            completed_splits: sum(|stage| stage.finished_tasks),
            planning_time_millis: times.planned_at.unwrap_or(now).duration_since(planning_at).as_millis()
                as u64,
            analysis_time_millis: 0,
            cpu_time_millis: work.cpu_nanos / 1_000_000,
            wall_time_millis: work.wall_nanos / 1_000_000,
            queued_time_millis: planning_at.duration_since(times.created_at).as_millis() as u64,
            elapsed_time_millis: now.duration_since(times.created_at).as_millis() as u64,
            finishing_time_millis: 0,
            physical_input_time_millis: 0,
            processed_rows: work.scanned_rows,
            processed_bytes: work.scanned_bytes,
            physical_input_bytes: work.scanned_bytes,
            physical_written_bytes: 0,
            internal_network_input_bytes: work.exchange_input_bytes,
            peak_memory_bytes: self.peak_memory_bytes,
            spilled_bytes: work.spilled_bytes,
            root_stage: (!self.stages.is_empty()).then(|| self.stage_stats(StageId(0))).flatten(),
        }
    }

    fn stage_stats(&self, id: StageId) -> Option<StageStats> {
        let stage = self.stages.get(id.0 as usize)?;
        Some(StageStats {
            stage_id: id.to_string(),
            state: stage.state_name().to_string(),
            done: stage.state == StageState::Finished,
            nodes: stage.nodes.len() as u64,
            total_splits: u64::from(stage.tasks),
            queued_splits: u64::from(stage.queued_tasks()),
            running_splits: u64::from(stage.running_tasks),
            completed_splits: u64::from(stage.finished_tasks),
            cpu_time_millis: stage.work.cpu_nanos / 1_000_000,
            wall_time_millis: stage.work.wall_nanos / 1_000_000,
            processed_rows: stage.work.scanned_rows,
            processed_bytes: stage.work.scanned_bytes,
            physical_input_bytes: stage.work.scanned_bytes,
            failed_tasks: u64::from(stage.failed_attempts + stage.lost_attempts),
            coordinator_only: false,
            sub_stages: stage.producers.iter().filter_map(|id| self.stage_stats(*id)).collect(),
        })
    }
}

impl StageProgress {
    /// Tasks that wait.
    pub fn queued_tasks(&self) -> u32 {
        self.tasks.saturating_sub(self.running_tasks).saturating_sub(self.finished_tasks)
    }

    fn done_fraction(&self) -> f64 {
        match (self.state, self.tasks) {
            (StageState::Finished, _) => 1.0,
            (_, 0) => 0.0,
            (_, tasks) => f64::from(self.finished_tasks) / f64::from(tasks),
        }
    }

    /// Trino's name of the state.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            StageState::Waiting => "PLANNED",
            StageState::Running if self.running_tasks == 0 => "SCHEDULING",
            StageState::Running => "RUNNING",
            StageState::Finished => "FINISHED",
            StageState::Abandoned => "ABORTED",
        }
    }
}

/// How many splits the attempts of a query have read that run at the same time, and how many they are to read.
fn splits_of(view: QueryView<'_>, execution: &Execution) -> (u64, u64) {
    let of_task = |task: TaskView<'_>| task.input.splits.iter().map(Vec::len).sum::<usize>() as u64;
    let (mut read, mut total) = (0, 0);
    for stage in view.stages() {
        total += stage.tasks().map(of_task).sum::<u64>();
        let attempts = execution.chosen_attempts(stage.id).into_iter();
        let known = attempts.filter_map(|attempt| execution.attempts.get(&attempt));
        read += known.map(|record| record.stats.completed_splits).sum::<u64>();
    }
    (read, total)
}

fn producers(execution: &Execution, stage: StageId) -> Vec<StageId> {
    let inputs = execution.stage(stage).map_or(&[][..], |stage| &stage.inputs);
    inputs.iter().flat_map(|input| input.producers.iter().copied()).collect()
}
