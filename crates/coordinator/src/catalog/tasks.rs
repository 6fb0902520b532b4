//! The table `system.runtime.tasks`: a row for each attempt of queries that the scheduler knows.

use std::collections::BTreeSet;
use std::time::SystemTime;

use base::{AttemptId, NodeId, QueryId, StageId, TaskId};
use exchange::CommitRecord;
use scheduler::AttemptState;

use super::rows::{Cell, Column, ColumnKind};
use crate::dispatch::{AttemptRecord, DispatchState, Execution};

/// Trino's columns, and after them what Trino does not count.
pub const TASK_COLUMNS: &[Column] = &[
    ("node_id", ColumnKind::Text),
    ("task_id", ColumnKind::Text),
    ("stage_id", ColumnKind::Text),
    ("query_id", ColumnKind::Text),
    ("state", ColumnKind::Text),
    ("splits", ColumnKind::Bigint),
    ("queued_splits", ColumnKind::Bigint),
    ("running_splits", ColumnKind::Bigint),
    ("completed_splits", ColumnKind::Bigint),
    ("split_scheduled_time_ms", ColumnKind::Bigint),
    ("split_cpu_time_ms", ColumnKind::Bigint),
    ("split_blocked_time_ms", ColumnKind::Bigint),
    ("internal_network_input_bytes", ColumnKind::Bigint),
    ("processed_input_bytes", ColumnKind::Bigint),
    ("processed_input_rows", ColumnKind::Bigint),
    ("output_bytes", ColumnKind::Bigint),
    ("output_rows", ColumnKind::Bigint),
    ("physical_input_bytes", ColumnKind::Bigint),
    ("physical_written_bytes", ColumnKind::Bigint),
    ("created", ColumnKind::Instant),
    ("start", ColumnKind::Instant),
    ("last_heartbeat", ColumnKind::Instant),
    ("end", ColumnKind::Instant),
    ("exchange_written_bytes", ColumnKind::Bigint),
    ("exchange_written_objects", ColumnKind::Bigint),
    ("spilled_bytes", ColumnKind::Bigint),
];

/// Where `output_rows` stands.
const OUTPUT_ROWS_AT: usize = 16;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The rows as they are now.
pub fn task_rows(state: &DispatchState) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for query in state.core().queries() {
        let Some(execution) = state.execution(&query.id()) else { continue };
        for stage in query.stages() {
            let mut placed = BTreeSet::new();
            for task in stage.tasks() {
                for attempt in task.attempts {
                    let id = AttemptId {
                        task: TaskId { query: query.id(), stage: stage.id, partition: task.partition },
                        generation: attempt.generation,
                        epoch: attempt.epoch,
                        number: attempt.number,
                    };
                    let splits = task.input.splits.iter().map(Vec::len).sum::<usize>() as u64;
                    let record = execution.attempts.get(&id);
                    let is_over = attempt.ended_at.is_some();
                    rows.push(row(id, &attempt.node, state_name(attempt.state), splits, record, is_over));
                    placed.insert(id);
                }
            }
            rows.extend(reported(execution, query.id(), stage.id, &placed));
            rows.extend(execution.inherited_outputs(stage.id, state.epoch()).map(inherited));
        }
    }
    rows
}

/// The attempts of a stage that another coordinator placed, and of whose end this one was told.
fn reported(
    execution: &Execution,
    query: QueryId,
    stage: StageId,
    placed: &BTreeSet<AttemptId>,
) -> Vec<Vec<Cell>> {
    let attempts = execution.attempts_of(query, stage).filter(|(id, _)| !placed.contains(id));
    let outputs = execution.stage(stage).map(|stage| &stage.outputs);
    let row = |(id, record): (&AttemptId, &AttemptRecord)| {
        let output = outputs.and_then(|outputs| outputs.get(&id.task.partition));
        let is_chosen = output.is_some_and(|output| output.attempt() == *id);
        let name = state_name(if is_chosen { AttemptState::Committed } else { AttemptState::Aborted });
        let splits = record.stats.completed_splits;
        row(*id, &record.node, name, splits, Some(record), true)
    };
    attempts.map(row).collect()
}

/// An attempt that ended under another coordinator. Where it ran is not known, and little of what it did.
fn inherited(output: &CommitRecord) -> Vec<Cell> {
    let id = output.attempt();
    let mut row = vec![
        Cell::Null,
        id.to_string().into(),
        id.task.stage.to_string().into(),
        id.task.query.to_string().into(),
        state_name(AttemptState::Committed).into(),
    ];
    row.extend((row.len()..OUTPUT_ROWS_AT).map(|_| Cell::count(0)));
    row.extend([output.rows(), 0, 0].map(Cell::count));
    row.extend([Cell::Null, Cell::Null, Cell::Null, Cell::Null]);
    row.extend([output.stored_bytes(), output.object_count(), 0].map(Cell::count));
    row
}

/// Trino's name of a state.
fn state_name(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Running => "RUNNING",
        AttemptState::Committed => "FINISHED",
        AttemptState::Aborted => "ABORTED",
        AttemptState::Failed | AttemptState::Lost => "FAILED",
    }
}

fn row(
    id: AttemptId,
    node: &NodeId,
    state: &'static str,
    splits: u64,
    record: Option<&AttemptRecord>,
    is_over: bool,
) -> Vec<Cell> {
    let stats = record.map(|record| record.stats.clone()).unwrap_or_default();
    let time = |of: fn(&AttemptRecord) -> SystemTime| Cell::from(record.map(of));
    vec![
        node.as_str().into(),
        id.to_string().into(),
        id.task.stage.to_string().into(),
        id.task.query.to_string().into(),
        state.into(),
        Cell::count(splits),
        Cell::count(0),
        Cell::count(splits.saturating_sub(stats.completed_splits)),
        Cell::count(stats.completed_splits),
        Cell::count(stats.wall_nanos / NANOS_PER_MILLI),
        Cell::count(stats.cpu_nanos / NANOS_PER_MILLI),
        Cell::count(0),
        Cell::count(stats.exchange_input_bytes),
        Cell::count(stats.input_bytes),
        Cell::count(stats.input_rows),
        Cell::count(stats.output_bytes),
        Cell::count(stats.output_rows),
        Cell::count(stats.physical_input_bytes),
        // No attempt writes to tables yet.
        Cell::count(0),
        time(|record| record.created),
        time(|record| record.created),
        time(|record| record.last_heard),
        record.filter(|_| is_over).map(|record| record.last_heard).into(),
        Cell::count(stats.output_stored_bytes),
        Cell::count(stats.output_objects),
        Cell::count(stats.spilled_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_rows_stand_where_they_are_written() {
        assert_eq!(TASK_COLUMNS[OUTPUT_ROWS_AT].0, "output_rows");
    }
}
