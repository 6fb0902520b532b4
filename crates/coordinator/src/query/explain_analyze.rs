//! `EXPLAIN ANALYZE`: runs a query, drops its rows, and shows what each stage did.

use std::fmt::Write;

use base::{DataSize, Duration, Error, Result, StageId};
use planner::explain::{OutlineLine, analyzed};
use protocol::client::succinct::{succinct_data_size, succinct_duration};

use super::Query;
use super::progress::{QueryProgress, StageProgress};
use crate::services::Services;
use crate::statement::{QUERY_PLAN, StatementResult};

/// Shows the plan of a query that has run, with what each stage did.
pub async fn result(services: &Services, query: &Query, outline: &[OutlineLine]) -> Result<StatementResult> {
    let progress = query.progress();
    let measured = measured(services, query).await?;
    let mut text = summary(query, &progress);
    text.push_str(&analyzed(outline, &|part| {
        let stage = part.stage.0 as usize;
        match part.operator {
            None => {
                let known = progress.stages.get(stage).zip(measured.get(stage));
                known.map(|(progress, measured)| stage_lines(progress, measured)).unwrap_or_default()
            }
            Some(operator) => {
                let operators = measured.get(stage).map_or(&[][..], |stage| &stage.operators);
                operators.get(operator).map(operator_line).into_iter().collect()
            }
        }
    }));
    StatementResult::text(QUERY_PLAN, text)
}

fn summary(query: &Query, progress: &QueryProgress) -> String {
    let status = query.status();
    let attempts: u32 = progress.stages.iter().map(|stage| stage.attempts).sum();
    let tasks: u32 = progress.stages.iter().map(|stage| stage.tasks).sum();
    let elapsed = Duration(u64::try_from(status.times.created_at.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let policy = match progress.retries {
        0 => query.retry_policy.as_str().to_owned(),
        retries => format!("{} (retries: {retries})", query.retry_policy.as_str()),
    };
    format!(
        "Query {}: retry policy {}, {} stages, {tasks} tasks, {attempts} attempts on {} nodes in {}, peak memory {}\n\n",
        query.id,
        policy,
        progress.stages.len(),
        progress.nodes.len(),
        succinct_duration(elapsed),
        size(progress.peak_memory_bytes),
    )
}

/// The lines under a fragment's title.
fn stage_lines(stage: &StageProgress, measured: &Measured) -> Vec<String> {
    let work = &stage.work;
    let mut lines = vec![
        format!(
            "Tasks: {}, attempts: {} (failed: {}, lost: {}, aborted: {}), nodes: {}",
            stage.tasks,
            stage.attempts,
            stage.failed_attempts,
            stage.lost_attempts,
            stage.aborted_attempts,
            stage.nodes.len()
        ),
        format!(
            "CPU: {}, wall: {}, scanned: {} rows ({}), exchange input: {}",
            succinct_duration(Duration(work.cpu_nanos)),
            succinct_duration(Duration(work.wall_nanos)),
            work.scanned_rows,
            size(work.scanned_bytes),
            size(work.exchange_input_bytes)
        ),
    ];
    let mut output = format!(
        "Output: {} rows ({}, stored: {} in {} objects)",
        stage.output_rows,
        size(stage.output_bytes),
        size(work.stored_bytes),
        work.stored_objects
    );
    if work.spilled_bytes > 0 {
        // Writing to a string cannot fail.
        let _ = write!(output, ", spilled: {}", size(work.spilled_bytes));
    }
    lines.push(output);
    if measured.unknown_tasks > 0 {
        lines.push(format!(
            "Tasks that finished under another coordinator, whose times are not known: {}",
            measured.unknown_tasks
        ));
    }
    lines
}

/// What is known of the committed attempts of a stage.
#[derive(Debug, Default)]
struct Measured {
    /// For each operator, the rows it gave and the time it computed, in nanoseconds.
    operators: Vec<(u64, u64)>,
    /// How many of its committed tasks were measured by another coordinator, which is gone.
    unknown_tasks: u32,
}

async fn measured(services: &Services, query: &Query) -> Result<Vec<Measured>> {
    let id = query.id;
    let stages = services.dispatcher.inspect(move |state| {
        let execution = state.execution(&id)?;
        let stages = (0..).zip(&execution.stages).map(|(stage, _)| {
            let mut measured = Measured::default();
            for id in execution.chosen_attempts(StageId(stage)) {
                let Some(attempt) = execution.attempts.get(&id) else {
                    measured.unknown_tasks += 1;
                    continue;
                };
                let totals = &mut measured.operators;
                totals.resize(totals.len().max(attempt.stats.operators.len()), (0, 0));
                for (total, operator) in totals.iter_mut().zip(&attempt.stats.operators) {
                    total.0 += operator.output_rows;
                    total.1 += operator.cpu_nanos;
                }
            }
            measured
        });
        Some(stages.collect())
    });
    stages.await?.ok_or_else(|| Error::internal("the query was forgotten before it was explained"))
}

fn operator_line((rows, nanos): &(u64, u64)) -> String {
    format!("Output: {rows} rows, CPU: {}", succinct_duration(Duration(*nanos)))
}

fn size(bytes: u64) -> String {
    succinct_data_size(DataSize(bytes))
}
