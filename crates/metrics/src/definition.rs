//! What there is to say about one metric.

/// How a number behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, from 0 at the start of the process. Its samples are named with `_total` at their end.
    Counter,
}

impl Kind {
    /// The name in OpenMetrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        }
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Kind::Gauge => "",
            Kind::Counter => "_total",
        }
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    None,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The name in OpenMetrics, with which the names of its metrics end.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Unit::None => None,
            Unit::Bytes => Some("bytes"),
            Unit::Seconds => Some("seconds"),
        }
    }
}

/// What tells the samples of a metric apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Every value it may have. Each has a sample, also where the number is 0.
    pub values: &'static [&'static str],
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without the `_total` of a counter's samples.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// What tells its samples apart, if there is more than one.
    pub label: Option<Label>,
    /// What it is, as a sentence.
    pub help: &'static str,
    /// Whether a coordinator has it.
    pub coordinator: bool,
    /// Whether a worker has it.
    pub worker: bool,
}

impl Metric {
    const fn new(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Self {
        Metric { name, kind, unit, label: None, help, coordinator: true, worker: true }
    }

    pub(crate) const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Metric::new(name, Kind::Gauge, unit, help)
    }

    pub(crate) const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Metric::new(name, Kind::Counter, unit, help)
    }

    pub(crate) const fn by(self, name: &'static str, values: &'static [&'static str]) -> Self {
        Metric { label: Some(Label { name, values }), ..self }
    }

    pub(crate) const fn of_coordinator(self) -> Self {
        Metric { worker: false, ..self }
    }

    pub(crate) const fn of_worker(self) -> Self {
        Metric { coordinator: false, ..self }
    }
}
