//! `EXPLAIN ANALYZE`: runs a query, drops its rows, and shows what each stage did.

use std::fmt::Write;
use std::sync::Arc;

use base::{DataSize, Duration, Error, Result};
use protocol::client::succinct::{succinct_data_size, succinct_duration};

use super::progress::{QueryProgress, StageProgress};
use super::run::submit;
use super::{Query, QueryState};
use crate::plan::PlannedQuery;
use crate::services::Services;
use crate::statement::{QUERY_PLAN, StatementContext, StatementResult};

/// Runs a planned query and shows its plan with what each stage did.
pub async fn explain_analyze(
    services: &Arc<Services>,
    query: &Arc<Query>,
    context: &StatementContext,
    mut planned: PlannedQuery,
) -> Result<StatementResult> {
    planned.record.is_analyzed = true;
    let plan = planned.plan.clone();
    let (root, _) = submit(services, query, context, planned).await?;
    root.finished().await?;
    QueryProgress::refresh(services, query).await;
    let progress = query.progress();
    let operators = operator_lines(services, query).await?;
    query.advance(QueryState::Finishing);
    let mut text = summary(query, &progress);
    text.push_str(&planner::explain::analyzed(&plan, &|stage, operator| {
        let stage = stage.0 as usize;
        match operator {
            None => progress.stages.get(stage).map(stage_lines).unwrap_or_default(),
            Some(operator) => operators
                .get(stage)
                .and_then(|of_stage| of_stage.get(operator))
                .cloned()
                .into_iter()
                .collect(),
        }
    }));
    StatementResult::text(QUERY_PLAN, text)
}

fn summary(query: &Query, progress: &QueryProgress) -> String {
    let status = query.status();
    let attempts: u32 = progress.stages.iter().map(|stage| stage.attempts).sum();
    let tasks: u32 = progress.stages.iter().map(|stage| stage.tasks).sum();
    let elapsed = Duration(u64::try_from(status.times.created_at.elapsed().as_nanos()).unwrap_or(u64::MAX));
    format!(
        "Query {}: {} stages, {tasks} tasks, {attempts} attempts on {} nodes in {}, peak memory {}\n\n",
        query.id,
        progress.stages.len(),
        progress.nodes.len(),
        succinct_duration(elapsed),
        size(progress.peak_memory_bytes),
    )
}

/// The lines under a fragment's title.
fn stage_lines(stage: &StageProgress) -> Vec<String> {
    let work = &stage.work;
    let mut lines = vec![
        format!(
            "Tasks: {}, attempts: {} (failed: {}, lost: {}), nodes: {}",
            stage.tasks,
            stage.attempts,
            stage.failed_attempts,
            stage.lost_attempts,
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
        "Output: {} rows ({}, stored: {})",
        stage.output_rows,
        size(stage.output_bytes),
        size(work.stored_bytes)
    );
    if work.spilled_bytes > 0 {
        // Writing to a string cannot fail.
        let _ = write!(output, ", spilled: {}", size(work.spilled_bytes));
    }
    lines.push(output);
    lines
}

/// For each stage and each operator in its plan, what the committed attempts did there.
async fn operator_lines(services: &Services, query: &Query) -> Result<Vec<Vec<String>>> {
    let id = query.id;
    let totals = services
        .dispatcher
        .inspect(move |state| {
            let execution = state.execution(&id)?;
            let stages = execution.stages.iter().map(|stage| {
                let mut totals: Vec<(u64, u64)> = Vec::new();
                for record in stage.outputs.values() {
                    let Some(attempt) = execution.attempts.get(&record.attempt()) else {
                        continue;
                    };
                    totals.resize(totals.len().max(attempt.stats.operators.len()), (0, 0));
                    for (total, operator) in totals.iter_mut().zip(&attempt.stats.operators) {
                        total.0 += operator.output_rows;
                        total.1 += operator.cpu_nanos;
                    }
                }
                totals
            });
            Some(stages.collect::<Vec<_>>())
        })
        .await?
        .ok_or_else(|| Error::internal("the query was forgotten before it was explained"))?;
    let line = |(rows, nanos): (u64, u64)| {
        format!("Output: {rows} rows, CPU: {}", succinct_duration(Duration(nanos)))
    };
    Ok(totals.into_iter().map(|stage| stage.into_iter().map(line).collect()).collect())
}

fn size(bytes: u64) -> String {
    succinct_data_size(DataSize(bytes))
}
