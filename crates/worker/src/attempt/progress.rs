//! How far an attempt is: what the watchdog looks at and what reports tell.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    started: Instant,
    plan: Mutex<Plan>,
}

/// Where the operators' metrics are.
enum Plan {
    /// Not decoded yet.
    Unknown,
    /// In the plan that runs.
    Running(Arc<dyn ExecutionPlan>),
    /// The attempt has ended, and its plan is gone.
    Ended { wall: Duration, operators: Vec<wire::OperatorStats> },
}

impl AttemptProgress {
    /// An attempt that starts now.
    pub(crate) fn new(memory_bytes: u64, spill: Arc<SpillDirectory>) -> Arc<Self> {
        Arc::new(AttemptProgress {
            counters: AttemptCounters::new(),
            pool: AttemptPool::new(memory_bytes),
            spill,
            started: Instant::now(),
            plan: Mutex::new(Plan::Unknown),
        })
    }

    /// Tells which plan runs.
    pub(crate) fn plan_decoded(&self, plan: Arc<dyn ExecutionPlan>) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Plan::Running(plan);
    }

    /// Keeps the metrics, lets go of the plan and removes the spill files.
    pub(crate) fn ended(&self) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let operators = plan.operators();
        *plan = Plan::Ended { wall: self.started.elapsed(), operators };
        drop(plan);
        self.spill.close();
    }

    /// A number that changes as long as the attempt does something.
    pub(crate) fn progress(&self) -> u64 {
        self.counters.progress().wrapping_add(self.pool.changes()).wrapping_add(self.spill.written_bytes())
    }

    /// What a report tells of the attempt.
    pub(crate) fn stats(&self) -> wire::AttemptStats {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let operators = plan.operators();
        let wall = match &*plan {
            Plan::Ended { wall, .. } => *wall,
            Plan::Unknown | Plan::Running(_) => self.started.elapsed(),
        };
        drop(plan);
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
            Plan::Ended { operators, .. } => operators.clone(),
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
