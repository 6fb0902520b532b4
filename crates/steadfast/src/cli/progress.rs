//! The progress of a query, on the terminal while it runs.

use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::client::{StageStats, StatementStats};

/// How often the bar is drawn again.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
/// The bar counts thousandths.
const FULL: u64 = 1000;

/// The progress of a query, on the terminal while it runs.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// A bar on standard error, or nothing.
    pub fn new(visible: bool) -> Self {
        let bar = ProgressBar::new(FULL);
        bar.set_draw_target(match visible {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        });
        let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.enable_steady_tick(DRAW_INTERVAL);
        Progress { bar, started: Instant::now() }
    }

    /// Shows how far the query is.
    pub fn show(&self, stats: &StatementStats) {
        let share = stats.progress_percentage.unwrap_or(0.0) / 100.0;
        self.bar.set_position((share * FULL as f64) as u64);
        self.bar.set_message(describe(stats, self.started.elapsed()));
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn describe(stats: &StatementStats, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let (stages, done, retries) = stats.root_stage.as_ref().map(count).unwrap_or_default();
    let mut text = stats.state.clone();
    if stages > 0 {
        text.push_str(&format!(
            "  stages {done}/{stages}  splits {}/{} ({} running)  {} rows/s  {}  {}/s",
            stats.completed_splits,
            stats.total_splits,
            stats.running_splits,
            HumanCount((stats.processed_rows as f64 / seconds) as u64),
            HumanBytes(stats.processed_bytes),
            HumanBytes((stats.processed_bytes as f64 / seconds) as u64),
        ));
    }
    if retries > 0 {
        text.push_str(&format!("  retries {retries}"));
    }
    text
}

/// Stages, stages that are done, attempts that failed or were lost.
fn count(stage: &StageStats) -> (u64, u64, u64) {
    let own = (1, u64::from(stage.done), stage.failed_tasks);
    stage
        .sub_stages
        .iter()
        .map(count)
        .fold(own, |(stages, done, retries), below| (stages + below.0, done + below.1, retries + below.2))
}

/// One line about a query that has ended.
pub fn summary(id: &str, stats: &StatementStats) -> String {
    let seconds = stats.elapsed_time_millis as f64 / 1000.0;
    let (stages, _, retries) = stats.root_stage.as_ref().map(count).unwrap_or_default();
    format!(
        "Query {id}, {}, {} nodes, {stages} stages, {} splits, {retries} retries\n{seconds:.2} s, {} rows, {}, {} rows/s",
        stats.state,
        stats.nodes,
        stats.total_splits,
        HumanCount(stats.processed_rows),
        HumanBytes(stats.processed_bytes),
        HumanCount((stats.processed_rows as f64 / seconds.max(0.001)) as u64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_retries_of_the_whole_tree_are_counted() {
        let leaf = StageStats { done: true, failed_tasks: 2, ..StageStats::default() };
        let root =
            StageStats { sub_stages: vec![leaf.clone(), leaf], failed_tasks: 1, ..StageStats::default() };
        assert_eq!(count(&root), (3, 2, 5));
        let stats =
            StatementStats { state: "RUNNING".into(), root_stage: Some(root), ..StatementStats::default() };
        assert!(describe(&stats, Duration::from_secs(1)).ends_with("retries 5"));
    }
}
