//! Plays scenarios, one after the other.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use steadfast::Failure;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;
use crate::cluster::files_under;
use crate::random::seed_of;
use crate::report::{Report, summary};
use crate::scenarios::{SCENARIOS, Scenario};
use crate::scene::Context;

/// Plays what the arguments say.
pub fn play(arguments: Arguments) -> Result<ExitCode, Failure> {
    if arguments.list {
        for scenario in SCENARIOS {
            println!("{:<24} {}", scenario.name, scenario.summary);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let scenarios = chosen(&arguments.scenario)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut reports = Vec::new();
    for scenario in scenarios {
        for round in 0..arguments.repeat {
            let report = runtime.block_on(async {
                tokio::select! {
                    report = play_one(scenario, round, &arguments) => report,
                    // What was mounted, limited and started ends with the scenario.
                    () = interrupted() => Err("interrupted".into()),
                }
            })?;
            match arguments.json {
                true => println!("{}", report.json()),
                false => println!("{}", report.text()),
            }
            reports.push(report);
        }
    }
    let summary = summary(&reports);
    match arguments.json {
        true => println!("{summary}"),
        false => println!(
            "{} played, failed: {}, skipped: {}",
            reports.len(),
            summary["failed"],
            summary["skipped"]
        ),
    }
    Ok(if summary["passed"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until somebody wants this program to end.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        // Who cannot listen for a signal is ended by it.
        Ok(()) = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Failure> {
    if names.iter().any(|name| name == "all") {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("there is no scenario '{name}'; --list names them").into())
    };
    names.iter().map(find).collect()
}

async fn play_one(scenario: &Scenario, round: u64, arguments: &Arguments) -> Result<Report, Failure> {
    eprintln!("{} …", scenario.name);
    let place = tempfile::Builder::new().prefix("steadfast-chaos-").tempdir()?;
    // The first round has the seed that was given, so that the seed in any report plays it again.
    let seed = match round {
        0 => arguments.seed,
        _ => seed_of(arguments.seed, &format!("round {round}")),
    };
    let Some(tpch) = testing::shared("tpch") else {
        let reason = Some("the queries and answers of TPC-H are not there".to_string());
        return Ok(Report { scenario: scenario.name.into(), seed, skipped: reason, ..Report::default() });
    };
    let context = Context {
        scenario: scenario.name,
        seed,
        rounds: arguments.rounds,
        program: match &arguments.program {
            Some(program) => std::path::absolute(program)?,
            None => std::env::current_exe()?,
        },
        directory: place.path().to_path_buf(),
        tpch,
    };
    let report = match (scenario.play)(context.clone()).await {
        Ok(report) => report,
        Err(error) => {
            let mut report = context.report();
            report.problem(error.to_string());
            report
        }
    };
    keep_logs(&place, &report, round, arguments.keep_logs.as_deref())?;
    Ok(report)
}

fn keep_logs(place: &TempDir, report: &Report, round: u64, wanted: Option<&Path>) -> Result<(), Failure> {
    let kept = match wanted {
        Some(directory) => directory.join(format!("{}-{round}", report.scenario)),
        None if report.has_passed() || report.skipped.is_some() => return Ok(()),
        None => std::env::temp_dir().join(format!(
            "steadfast-chaos-failed-{}-{}",
            report.scenario,
            std::process::id()
        )),
    };
    std::fs::create_dir_all(&kept)?;
    let is_log = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "log");
    for log in files_under(place.path()).into_iter().filter(is_log) {
        let node = log.parent().and_then(Path::file_name).unwrap_or_default();
        std::fs::copy(&log, kept.join(node).with_extension("log"))?;
    }
    std::fs::write(kept.join("report.json"), report.json().to_string())?;
    eprintln!("  logs: {}", kept.display());
    Ok(())
}
