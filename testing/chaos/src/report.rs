//! What a scenario found.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::attempts::Look;

/// What a scenario found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// From which its chances follow.
    pub seed: u64,
    /// Why it could not be run here.
    pub skipped: Option<String>,
    /// What is wrong. Nothing: the scenario has passed.
    pub problems: Vec<String>,
    /// Faults that have landed, by what they are.
    pub faults: BTreeMap<String, u64>,
    /// Faults that came too late to cost anything, and were tried again.
    pub missed: u64,
    /// Queries that were disturbed.
    pub queries: u64,
    /// Those whose answer was wrong.
    pub wrong: u64,
    /// Those whose client was told of an error.
    pub errors: u64,
    /// Requests that clients had to send again.
    pub client_retries: u64,
    /// Attempts that were lost with their worker.
    pub attempts_lost: u64,
    /// Attempts that failed.
    pub attempts_failed: u64,
    /// Attempts beyond the first of their task.
    pub attempts_rerun: u64,
    /// From each fault until the first task that it cost was started again.
    pub recovery_millis: Vec<u64>,
    /// How much longer each query took than undisturbed.
    pub wall_ratios: Vec<f64>,
    /// More figures.
    pub figures: BTreeMap<String, Value>,
    /// How long it all took.
    pub wall: Duration,
}

impl Report {
    /// Whether all was as it must be, and the faults struck.
    pub fn has_passed(&self) -> bool {
        self.skipped.is_none() && self.problems.is_empty()
    }

    /// Something is wrong.
    pub fn problem(&mut self, text: impl Into<String>) {
        let text = text.into();
        eprintln!("  PROBLEM {text}");
        self.problems.push(text);
    }

    /// A fault has landed.
    pub fn landed(&mut self, fault: &str) {
        *self.faults.entry(fault.to_string()).or_default() += 1;
    }

    /// Counts the attempts of a query.
    pub fn count(&mut self, look: &Look) {
        self.attempts_lost += look.in_state("LOST").count() as u64;
        self.attempts_failed += look.in_state("FAILED").count() as u64;
        self.attempts_rerun += look.rerun().len() as u64;
    }

    /// For programs: one line.
    pub fn json(&self) -> Value {
        let mut recoveries = self.recovery_millis.clone();
        recoveries.sort_unstable();
        let round = |ratio: f64| (ratio * 100.0).round() / 100.0;
        let ratios = self.wall_ratios.iter().copied();
        let mut document = json!({
            "scenario": self.scenario,
            "seed": self.seed,
            "passed": self.has_passed(),
            "faults": self.faults,
            "faults_missed": self.missed,
            "queries": self.queries,
            "wrong": self.wrong,
            "errors": self.errors,
            "client_retries": self.client_retries,
            "attempts_lost": self.attempts_lost,
            "attempts_failed": self.attempts_failed,
            "attempts_rerun": self.attempts_rerun,
            "recovery_ms": recoveries.get(recoveries.len() / 2),
            "recovery_ms_max": recoveries.last(),
            "wall_ratio": mean(&self.wall_ratios).map(round),
            "wall_ratio_max": ratios.reduce(f64::max).map(round),
            "seconds": round(self.wall.as_secs_f64()),
        });
        if let Some(reason) = &self.skipped {
            document["skipped"] = json!(reason);
        }
        if !self.problems.is_empty() {
            document["problems"] = json!(self.problems);
        }
        for (name, value) in &self.figures {
            document[name] = value.clone();
        }
        document
    }

    /// For people: one line.
    pub fn text(&self) -> String {
        let verdict = match (&self.skipped, self.has_passed()) {
            (Some(reason), _) => return format!("{:<24} SKIPPED: {reason}", self.scenario),
            (None, true) => "passed",
            (None, false) => "FAILED",
        };
        let faults: Vec<String> = self.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let mut text = format!(
            "{:<24} {verdict}: {}; {} queries, {} wrong, {} errors; {} attempts lost, {} run again; {:.0} s",
            self.scenario,
            if faults.is_empty() { "no fault landed".to_string() } else { faults.join(", ") },
            self.queries,
            self.wrong,
            self.errors,
            self.attempts_lost,
            self.attempts_rerun,
            self.wall.as_secs_f64(),
        );
        self.problems.iter().for_each(|problem| text.push_str(&format!("\n  - {problem}")));
        text
    }
}

fn mean(of: &[f64]) -> Option<f64> {
    (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
}

/// All that the scenarios found: the last line.
pub fn summary(reports: &[Report]) -> Value {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let names = |which: fn(&Report) -> bool| -> Vec<&str> {
        reports.iter().filter(|report| which(report)).map(|report| report.scenario.as_str()).collect()
    };
    let failed = names(|report| report.skipped.is_none() && !report.has_passed());
    json!({
        "passed": failed.is_empty(),
        "scenarios": reports.len(),
        "failed": failed,
        "skipped": names(|report| report.skipped.is_some()),
        "faults": sum(|report| report.faults.values().sum()),
        "queries": sum(|report| report.queries),
        "wrong": sum(|report| report.wrong),
        "errors": sum(|report| report.errors),
        "attempts_lost": sum(|report| report.attempts_lost),
        "attempts_rerun": sum(|report| report.attempts_rerun),
        "seconds": reports.iter().map(|report| report.wall.as_secs()).sum::<u64>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_or_a_reason_to_skip_is_no_success() {
        let mut report = Report { scenario: "test".into(), ..Report::default() };
        assert!(report.has_passed());
        report.recovery_millis = vec![30, 10, 20];
        report.wall_ratios = vec![1.0, 2.0];
        let document = report.json();
        assert_eq!((&document["recovery_ms"], &document["wall_ratio"]), (&json!(20), &json!(1.5)));
        let skipped = Report { skipped: Some("no mount".into()), ..report.clone() };
        assert!(!skipped.has_passed());
        let mut failed = report.clone();
        failed.problem("wrong");
        assert!(!failed.has_passed());
        let summary = summary(&[report, skipped, failed]);
        assert_eq!((&summary["failed"], &summary["skipped"]), (&json!(["test"]), &json!(["test"])));
    }
}
