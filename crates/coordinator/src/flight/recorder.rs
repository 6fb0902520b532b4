//! The last facts the scheduler was told, in memory.

use base::{Error, Millis, QueryId};
use scheduler::{Core, Event};

use super::recording::encode;

/// How many steps are kept: at least so many, if there were, and no more than twice as many.
const STEP_COUNT_MIN: usize = 4096;
/// The state of a core with more tasks is not kept. Such a recording can be read, but not be told again.
const TASK_COUNT_MAX: u64 = 20_000;

/// The last facts the scheduler was told, and its state before them.
#[derive(Debug)]
pub struct FlightRecorder {
    previous: Option<Part>,
    current: Part,
}

/// Steps in a row.
#[derive(Debug)]
struct Part {
    /// The core before the first step.
    start: Option<Box<Core>>,
    steps: Vec<(Millis, Event)>,
}

impl Part {
    fn beginning_at(core: &Core) -> Self {
        let tasks: u64 =
            core.queries().flat_map(|query| query.stages()).map(|stage| u64::from(stage.tasks_total)).sum();
        let start = (tasks <= TASK_COUNT_MAX).then(|| Box::new(core.clone()));
        Part { start, steps: Vec::new() }
    }
}

impl FlightRecorder {
    /// A recorder that starts with the core as it is.
    pub fn new(core: &Core) -> Self {
        FlightRecorder { previous: None, current: Part::beginning_at(core) }
    }

    /// Takes note of a fact that the core is about to be told.
    pub fn record(&mut self, core: &Core, now: Millis, event: &Event) {
        if self.current.steps.len() >= STEP_COUNT_MIN {
            self.previous = Some(std::mem::replace(&mut self.current, Part::beginning_at(core)));
        }
        self.current.steps.push((now, event.clone()));
    }

    /// What is recorded, as it is written down for a query that failed.
    pub fn write_down(&self, query: QueryId, error: &Error) -> Vec<u8> {
        // Steps before a state that was not kept cannot be told again, and would hide that those after it can.
        let previous = self.previous.as_ref().filter(|it| it.start.is_some() || self.current.start.is_none());
        let start = match previous {
            Some(previous) => &previous.start,
            None => &self.current.start,
        };
        let steps = previous.into_iter().flat_map(|part| &part.steps).chain(&self.current.steps);
        encode(query, error, start.as_deref(), steps)
    }
}

#[cfg(test)]
mod tests {
    use base::{Epoch, ErrorCode};
    use scheduler::CoreOptions;

    use super::*;
    use crate::flight::Recording;

    #[test]
    fn no_more_steps_are_kept_than_twice_the_least() {
        let core = Core::new(Epoch(3), CoreOptions::default());
        let mut recorder = FlightRecorder::new(&core);
        let query: QueryId = "20261120_061411_00007_abcde".parse().unwrap();
        let error = Error::new(ErrorCode::NO_NODES_AVAILABLE, "No nodes available to run query");
        for at in 0..3 * STEP_COUNT_MIN as u64 + 5 {
            recorder.record(&core, Millis(at), &Event::Tick);
        }
        let recording = Recording::decode(&recorder.write_down(query, &error)).unwrap();
        assert_eq!(recording.steps.len(), STEP_COUNT_MIN + 5);
        assert_eq!(recording.steps.last().unwrap().0, Millis(3 * STEP_COUNT_MIN as u64 + 4));
        assert_eq!((recording.query, &recording.error), (query, &error));
        assert_eq!(recording.start.unwrap().next_deadline(), core.next_deadline());
    }
}
