//! `steadfast replay`: the scheduler is told once more what it was told before a query failed.

use std::io::{BufWriter, Write, stdout};
use std::process::ExitCode;

use base::{Error, Millis, QueryId};
use coordinator::flight::Recording;
use scheduler::{AttemptReport, AttemptStatus, Command, Event, Record};

use crate::Failure;
use crate::cli::ReplayArguments;

/// Replays a recording.
pub fn replay(arguments: &ReplayArguments) -> Result<ExitCode, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{}: {error}", arguments.file.display());
    let content = std::fs::read(&arguments.file).map_err(|error| unreadable(&error))?;
    let recording = Recording::decode(&content).map_err(|error| unreadable(&error))?;
    let mut out = BufWriter::new(stdout().lock());
    let ended_as_recorded = tell(recording, arguments.last, &mut out)?;
    out.flush()?;
    Ok(if ended_as_recorded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tells the core every step, and shows the last ones. Whether the query ended as recorded.
fn tell(recording: Recording, last: Option<usize>, out: &mut impl Write) -> Result<bool, Failure> {
    let Recording { query, error, start, steps } = recording;
    let shown_from = last.map_or(0, |last| steps.len().saturating_sub(last));
    let Some(mut core) = start else {
        writeln!(
            out,
            "The scheduler's state was too large to be kept: this is what it was told, without its decisions."
        )?;
        for (now, event) in &steps[shown_from..] {
            writeln!(out, "{}  {}", time(*now), event_text(event))?;
        }
        return Ok(true);
    };
    let mut outcome = None;
    for (at, (now, event)) in steps.into_iter().enumerate() {
        if at >= shown_from {
            writeln!(out, "{}  {}", time(now), event_text(&event))?;
        }
        let mut commands = Vec::new();
        core.step(now, event, &mut commands);
        for command in &commands {
            if at >= shown_from {
                writeln!(out, "{:>16}→ {}", "", command_text(command))?;
            }
            if let Command::QueryFinished { query: ended, outcome: how } = command
                && *ended == query
            {
                outcome = Some(how.clone());
            }
        }
    }
    Ok(judge(query, &error, outcome, out)?)
}

fn judge(
    query: QueryId,
    recorded: &Error,
    outcome: Option<Result<(), Error>>,
    out: &mut impl Write,
) -> std::io::Result<bool> {
    match outcome {
        Some(Err(error)) if error == *recorded => {
            writeln!(out, "{query} failed as recorded: {}: {error}", error.code())?;
            return Ok(true);
        }
        Some(Err(error)) => {
            writeln!(out, "{query} failed otherwise than recorded: {}: {error}", error.code())?
        }
        Some(Ok(())) => writeln!(out, "{query} did not fail")?,
        None => writeln!(out, "{query} did not end")?,
    }
    writeln!(out, "recorded is {}: {recorded}", recorded.code())?;
    Ok(false)
}

/// Seconds of the core's clock.
fn time(now: Millis) -> String {
    format!("{:>12}.{:03}", now.0 / 1000, now.0 % 1000)
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Tick => "tick".to_string(),
        Event::Resumed => "the coordinator stood still until now".to_string(),
        Event::QuerySubmitted { query, shape, .. } => {
            format!("{query} is submitted, {} stages", shape.stages.len())
        }
        Event::QueryRecovered { query, records, commits, .. } => {
            format!("{query} is recovered, {} records, {} commits", records.len(), commits.len())
        }
        Event::SplitsArrived { query, stage, scan, sizes, last } => {
            let end = if *last { ", the last" } else { "" };
            format!("{query} stage {stage} scan {scan}: {} splits{end}", sizes.len())
        }
        Event::QueryCancelled { query, error } => format!("{query} is ended: {}: {error}", error.code()),
        Event::QueryClosed { query } => format!("{query} is closed"),
        Event::RecordPersisted { query, record } => format!("{query}: {} is there", record_text(record)),
        Event::DurabilityRequested { query } => format!("{query} is to outlive this coordinator"),
        Event::OutputLost { output, error } => {
            format!("output {}.{} of the result is lost: {error}", output.task, output.generation)
        }
        Event::ResultRead { query, partition } => format!("{query}: the result of task {partition} is read"),
        Event::WorkerDisconnected { node, incarnation } => {
            format!("{node} (life {}) is disconnected", incarnation.0)
        }
        Event::WorkerReported { node, report } => {
            let ended: Vec<String> = report.attempts.iter().filter_map(ended_text).collect();
            let running = report.attempts.len() - ended.len();
            let ended = if ended.is_empty() { String::new() } else { format!(", {}", ended.join(", ")) };
            format!(
                "{node} (life {}) report {}: {:?}, {running} running{ended}",
                report.incarnation.0, report.sequence, report.state
            )
        }
    }
}

fn ended_text(report: &AttemptReport) -> Option<String> {
    let attempt = report.attempt;
    match &report.status {
        AttemptStatus::Running => None,
        AttemptStatus::Committed { winner, .. } if *winner == attempt => Some(format!("{attempt} committed")),
        AttemptStatus::Committed { winner, .. } => Some(format!("{attempt} lost to {winner}")),
        AttemptStatus::HandedBack => Some(format!("{attempt} handed back")),
        AttemptStatus::Failed(failure) => {
            Some(format!("{attempt} failed ({:?}: {})", failure.class, failure.error))
        }
    }
}

fn command_text(command: &Command) -> String {
    match command {
        Command::SetDesired { node, sequence, attempts, .. } => {
            let held: Vec<String> = attempts.iter().map(|spec| spec.attempt.to_string()).collect();
            format!("{node} is to hold [{}] (message {sequence})", held.join(", "))
        }
        Command::RequestSplits { query, stage, scan, count_max } => {
            format!("{query} stage {stage} scan {scan}: at most {count_max} more splits, please")
        }
        Command::Persist { query, record } => format!("{query}: create {}", record_text(record)),
        Command::OutputSelected { output, winner } => {
            format!("output {}.{} is that of {winner}", output.task, output.generation)
        }
        Command::OutputsRolledBack { query, outputs } => {
            format!("{query}: {} outputs do not count any more", outputs.len())
        }
        Command::RegionStarted { query, attempts } => {
            format!("{query}: {} attempts run together", attempts.len())
        }
        Command::QueryDurable { query } => format!("{query} outlives this coordinator"),
        Command::StageSealed { query, stage, tasks } => format!("{query} stage {stage} has {tasks} tasks"),
        Command::QueryFinished { query, outcome: Ok(()) } => format!("{query} has finished"),
        Command::QueryFinished { query, outcome: Err(error) } => {
            format!("{query} has failed: {}: {error}", error.code())
        }
        Command::QueryReleased { query } => format!("{query} is released"),
        Command::Superseded { by } => format!("superseded by epoch {}", by.0),
    }
}

fn record_text(record: &Record) -> String {
    match record {
        Record::Tasks { stage, number, tasks, sealed } => {
            let end = if *sealed { ", the last" } else { "" };
            format!("record {number} of the tasks of stage {stage}: {}{end}", tasks.len())
        }
        Record::Rollback { number, outputs } => format!("rollback {number} of {} outputs", outputs.len()),
        Record::Done { outcome: Ok(()) } => "the outcome: finished".to_string(),
        Record::Done { outcome: Err(error) } => format!("the outcome: {}: {error}", error.code()),
    }
}
