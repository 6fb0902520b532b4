//! The text that monitoring reads: OpenMetrics 1.0.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Mutex, PoisonError};

use crate::definition::{Kind, Metric};

/// The type of a [`Page`] in HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a node tells of itself at one time.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// A page with nothing on it.
    pub fn new() -> Self {
        Page::default()
    }

    /// Adds a metric of one sample.
    pub fn add(&mut self, metric: &Metric, value: impl Display) {
        debug_assert!(metric.label.is_none(), "{} has labels", metric.name);
        self.head(metric);
        self.line(format_args!("{}{} {value}", metric.name, metric.kind.suffix()));
    }

    /// Adds a metric with a sample for each value of its label. `value_of` is asked for each.
    pub fn add_each<V: Display>(&mut self, metric: &Metric, mut value_of: impl FnMut(&'static str) -> V) {
        self.head(metric);
        for label in metric.label.iter() {
            for value in label.values {
                let sample = value_of(value);
                let suffix = metric.kind.suffix();
                self.line(format_args!("{}{suffix}{{{}=\"{value}\"}} {sample}", metric.name, label.name));
            }
        }
    }

    /// The text.
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    fn head(&mut self, metric: &Metric) {
        self.line(format_args!("# TYPE {} {}", metric.name, metric.kind.as_str()));
        if let Some(unit) = metric.unit.as_str() {
            self.line(format_args!("# UNIT {} {unit}", metric.name));
        }
        self.line(format_args!("# HELP {} {}", metric.name, metric.help));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a string does not fail");
    }
}

/// What counters have shown. A number that is added up anew each time may come out less when what was counted turns
/// out otherwise, and a counter that falls looks like a new process.
#[derive(Debug, Default)]
pub struct Floors(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Floors {
    /// The value, or what was shown before if that is more. `label` is empty where a counter has none.
    pub fn raise(&self, metric: &Metric, label: &'static str, value: u64) -> u64 {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = shown.entry((metric.name, label)).or_default();
        *floor = value.max(*floor);
        *floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{QUERIES_ENDED, UPTIME, WANTED_WORKERS};

    #[test]
    fn the_text_is_openmetrics() {
        let mut page = Page::new();
        page.add(&UPTIME, 2.5);
        page.add_each(&QUERIES_ENDED, |state| if state == "failed" { 3 } else { 0 });
        assert_eq!(
            page.finish(),
            "# TYPE steadfast_uptime_seconds gauge\n\
             # UNIT steadfast_uptime_seconds seconds\n\
             # HELP steadfast_uptime_seconds The time since this node started.\n\
             steadfast_uptime_seconds 2.5\n\
             # TYPE steadfast_queries_ended counter\n\
             # HELP steadfast_queries_ended Queries that have ended.\n\
             steadfast_queries_ended_total{state=\"finished\"} 0\n\
             steadfast_queries_ended_total{state=\"failed\"} 3\n\
             # EOF\n"
        );
    }

    #[test]
    fn a_counter_never_falls() {
        let floors = Floors::default();
        let shown = [4, 3, 6].map(|value| floors.raise(&QUERIES_ENDED, "failed", value));
        assert_eq!(shown, [4, 4, 6]);
        assert_eq!(floors.raise(&QUERIES_ENDED, "finished", 1), 1);
        assert_eq!(WANTED_WORKERS.kind, Kind::Gauge);
    }
}
