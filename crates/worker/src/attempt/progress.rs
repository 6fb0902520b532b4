//! How far an attempt is: what the watchdog looks at and what reports tell.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base::{Error, Failure};
use datafusion::physical_plan::ExecutionPlan;
use protocol::node::wire;

use super::counters::AttemptCounters;
use crate::pool::AttemptPool;
use crate::spill::SpillDirectory;

/// How far an attempt is. Others may look at any time.
pub(crate) struct AttemptProgress {
    pub(crate) counters: Arc<AttemptCounters>,
    pub(crate) pool: Arc<AttemptPool>,
    pub(crate) spill: Arc<SpillDirectory>,
    /// Why an input could not be read, if that is the fault of others.
    pub(crate) input_failure: Arc<OnceLock<Failure>>,
    started: Instant,
    wall: OnceLock<Duration>,
    plan: Mutex<Plan>,
}

/// Where the operators' metrics are.
enum Plan {
    /// Not decoded yet.
    Unknown,
    /// In the plan that runs.
    Running(Arc<dyn ExecutionPlan>),
    /// The plan has been run, and is gone.
    Ended(Vec<wire::OperatorStats>),
}

impl AttemptProgress {
    /// An attempt that starts now.
    pub(crate) fn new(pool: Arc<AttemptPool>, spill: Arc<SpillDirectory>) -> Arc<Self> {
        Arc::new(AttemptProgress {
            counters: AttemptCounters::new(),
            pool,
            spill,
            input_failure: Arc::default(),
            started: Instant::now(),
            wall: OnceLock::new(),
            plan: Mutex::new(Plan::Unknown),
        })
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which plan runs.
    pub(crate) fn plan_decoded(&self, plan: Arc<dyn ExecutionPlan>) {
        *self.plan() = Plan::Running(plan);
    }

    /// Keeps the metrics of the plan, and lets go of it and of what its operators hold.
    pub(crate) fn plan_ended(&self) {
        let mut plan = self.plan();
        if matches!(*plan, Plan::Ended(_)) {
            return;
        }
        let ended = Plan::Ended(plan.operators());
        let before = std::mem::replace(&mut *plan, ended);
        drop(plan);
        drop(before);
    }

    /// The attempt has ended: lets go of the plan and removes the spill files.
    pub(crate) fn ended(&self) {
        self.plan_ended();
        self.wall.get_or_init(|| self.started.elapsed());
        self.spill.close();
    }

    /// How the error is judged that the attempt ended with.
    pub(crate) fn judge(&self, error: Error) -> Failure {
        match self.input_failure.get() {
            Some(failure) if failure.error == error => failure.clone(),
            _ => Failure::of(self.pool.judged(error)),
        }
    }

    /// A number that changes as long as the attempt does something.
    pub(crate) fn progress(&self) -> u64 {
        self.counters.progress().wrapping_add(self.pool.changes()).wrapping_add(self.spill.written_bytes())
    }

    /// What a report tells of the attempt.
    pub(crate) fn stats(&self) -> wire::AttemptStats {
        let operators = self.plan().operators();
        let wall = self.wall.get().copied().unwrap_or_else(|| self.started.elapsed());
        let counters = &self.counters;
        let in_operators = operators.iter().fold(0, |sum: u64, each| sum.saturating_add(each.cpu_nanos));
        wire::AttemptStats {
            input_rows: counters.scanned.rows.get() + counters.exchanged.rows.get(),
            input_bytes: counters.scanned.bytes.get() + counters.exchanged.bytes.get(),
            physical_input_bytes: counters.completed_split_bytes.get(),
            exchange_input_bytes: counters.exchanged.bytes.get(),
            output_rows: counters.output.rows.get(),
            output_bytes: counters.output.bytes.get(),
            output_stored_bytes: counters.output_stored_bytes.get(),
            spilled_bytes: self.spill.written_bytes() + counters.sink_spilled_bytes.get(),
            // Operators that compute in tasks of their own are seen by their metrics alone; what lies between
            // operators, and the sink, by the attempt's own clock alone.
            cpu_nanos: counters.cpu_nanos.get().max(in_operators),
            wall_nanos: nanos(wall),
            completed_splits: counters.completed_splits.get(),
            exchange_input_rows: counters.exchanged.rows.get(),
            output_objects: counters.output_objects.get(),
            memory_reserved_bytes: self.pool.reserved_bytes(),
            operators,
        }
    }
}

impl Plan {
    fn operators(&self) -> Vec<wire::OperatorStats> {
        match self {
            Plan::Unknown => Vec::new(),
            Plan::Running(plan) => {
                let mut operators = Vec::new();
                collect(plan.as_ref(), &mut operators);
                operators
            }
            Plan::Ended(operators) => operators.clone(),
        }
    }
}

/// Adds the metrics of an operator and of those below it, from the root, children left to right.
fn collect(plan: &dyn ExecutionPlan, operators: &mut Vec<wire::OperatorStats>) {
    let metrics = plan.metrics().unwrap_or_default();
    let number = |value: Option<usize>| value.map_or(0, |value| value as u64);
    operators.push(wire::OperatorStats {
        name: plan.name().to_owned(),
        output_rows: number(metrics.output_rows()),
        cpu_nanos: number(metrics.elapsed_compute()),
        spilled_bytes: number(metrics.spilled_bytes()),
    });
    for child in plan.children() {
        collect(child.as_ref(), operators);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
