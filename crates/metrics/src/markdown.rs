//! Writes `docs/metrics.md`.

use std::fmt::Write;

use crate::definition::Metric;
use crate::table::METRICS;

const INTRODUCTION: &str = "\
<!-- Written from the code: `UPDATE_DOCS=1 cargo test -p steadfast-metrics --test documentation` -->

# Metrics

Every node answers `GET /metrics` with the text of OpenMetrics, which Prometheus and others read. Counters start at 0 \
with the process. A coordinator that runs attempts too has the metrics of both roles: those of its worker are served \
by that worker.

An autoscaler follows `steadfast_wanted_workers`, between a least and a most number of workers that it knows itself. \
It takes a worker away by SIGTERM, or by `PUT /v1/info/state` with `\"DRAINING\"` and a look at `GET /v1/info/state` \
until that says `\"DRAINED\"`: then nothing is lost with it.
";

/// The text of `docs/metrics.md`.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (title, is_coordinator) in [("Of a coordinator", true), ("Of a worker", false)] {
        let has = |metric: &Metric| if is_coordinator { metric.coordinator } else { metric.worker };
        write!(text, "\n## {title}\n\n| Metric | Kind | By | What it is |\n|---|---|---|---|\n")
            .expect("writing to a string does not fail");
        for metric in METRICS.iter().filter(|metric| has(metric)) {
            let by = metric.label.map_or_else(String::new, |label| {
                let values: Vec<String> = label.values.iter().map(|value| format!("`{value}`")).collect();
                format!("`{}`: {}", label.name, values.join(", "))
            });
            let (name, suffix) = (metric.name, metric.kind.suffix());
            writeln!(text, "| `{name}{suffix}` | {} | {by} | {} |", metric.kind.as_str(), metric.help)
                .expect("writing to a string does not fail");
        }
    }
    text
}
