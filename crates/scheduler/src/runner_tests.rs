use alloc::sync::Arc;
use alloc::vec;

use base::{QueryId, StageId, TaskId};

use super::*;
use crate::command::TaskInput;

fn spec(partition: u32, memory_bytes: u64) -> AttemptSpec {
    let query: QueryId = "20260101_000000_00001_aaaaa".parse().unwrap();
    let task = TaskId { query, stage: StageId(0), partition };
    let attempt = AttemptId { task, generation: 0, epoch: Epoch(1), number: 0 };
    AttemptSpec { attempt, memory_bytes, input: Arc::new(TaskInput::default()), is_pipelined: false }
}

fn desired(epoch: u32, sequence: u64, attempts: Vec<AttemptSpec>) -> RunnerEvent {
    RunnerEvent::Desired { epoch: Epoch(epoch), sequence, attempts }
}

fn ended(spec: &AttemptSpec) -> RunnerEvent {
    let status = AttemptStatus::Failed(base::Error::internal("x").into());
    RunnerEvent::AttemptEnded { attempt: spec.attempt, status, peak_memory_bytes: 7 }
}

struct Bench {
    runner: Runner,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench =
            Bench { runner: Runner::new(Incarnation(5), Capacity { memory_bytes: 100, slots: 2 }), now: 0 };
        bench.step(RunnerEvent::Connected);
        bench
    }

    fn step(&mut self, event: RunnerEvent) -> Vec<RunnerCommand> {
        let mut commands = Vec::new();
        self.runner.step(Millis(self.now), event, &mut commands);
        commands
    }
}

/// What was started and stopped, by partition, and what the report lists.
fn summary(commands: &[RunnerCommand]) -> (Vec<u32>, Vec<u32>, Option<Vec<u32>>) {
    let (mut started, mut stopped, mut reported) = (vec![], vec![], None);
    for command in commands {
        match command {
            RunnerCommand::Start { spec } => started.push(spec.attempt.task.partition),
            RunnerCommand::Cancel { attempt } => stopped.push(attempt.task.partition),
            RunnerCommand::Report(report) => {
                reported =
                    Some(report.attempts.iter().map(|attempt| attempt.attempt.task.partition).collect());
            }
        }
    }
    (started, stopped, reported)
}

#[test]
fn starts_and_stops_what_is_desired() {
    let mut bench = Bench::new();
    let commands = bench.step(desired(1, 1, vec![spec(0, 10), spec(1, 10)]));
    assert_eq!(summary(&commands), (vec![0, 1], vec![], Some(vec![0, 1])));
    let commands = bench.step(desired(1, 2, vec![spec(1, 10)]));
    assert_eq!(summary(&commands), (vec![], vec![0], Some(vec![0, 1])), "reported until it has ended");
    let commands = bench.step(ended(&spec(0, 10)));
    assert_eq!(summary(&commands), (vec![], vec![], Some(vec![1])));
}

#[test]
fn ended_attempt_is_reported_until_it_is_not_desired() {
    let mut bench = Bench::new();
    bench.step(desired(1, 1, vec![spec(0, 10)]));
    for event in [ended(&spec(0, 10)), desired(1, 2, vec![spec(0, 10), spec(1, 10)])] {
        let commands = bench.step(event);
        let Some(RunnerCommand::Report(report)) = commands.last() else { panic!("{commands:?}") };
        assert!(matches!(report.attempts[0].status, AttemptStatus::Failed(_)));
        assert_eq!(report.attempts[0].peak_memory_bytes, 7);
    }
    assert_eq!(summary(&bench.step(desired(1, 3, vec![]))).2, Some(vec![1]), "1 is still stopping");
}

#[test]
fn older_messages_are_ignored() {
    let mut bench = Bench::new();
    bench.step(desired(2, 1, vec![spec(0, 10)]));
    for (epoch, sequence) in [(2, 1), (2, 0), (1, 99)] {
        assert!(bench.step(desired(epoch, sequence, vec![])).is_empty());
    }
    assert!(!bench.runner.is_idle());
}

#[test]
fn waits_for_slots_and_memory_even_of_what_is_being_stopped() {
    let mut bench = Bench::new();
    assert_eq!(summary(&bench.step(desired(1, 1, vec![spec(0, 60), spec(1, 60)]))).0, [0]);
    let commands = bench.step(desired(1, 2, vec![spec(1, 60), spec(2, 10)]));
    assert_eq!(summary(&commands), (vec![], vec![0], Some(vec![0, 1, 2])));
    let commands = bench.step(ended(&spec(0, 60)));
    assert_eq!(summary(&commands), (vec![1, 2], vec![], Some(vec![1, 2])));
    assert_eq!(summary(&bench.step(desired(1, 3, vec![]))).1, [1, 2]);
    for partition in [1, 2] {
        bench.step(ended(&spec(partition, [60, 10][partition as usize - 1])));
    }
    assert!(bench.runner.is_idle());
    assert_eq!(
        summary(&bench.step(desired(1, 4, vec![spec(9, 500)]))).0,
        [9],
        "alone, a larger one is tried"
    );
}

/// Whoever wants it had not heard that it was stopped. It may have written something already.
#[test]
fn what_was_stopped_is_handed_back_when_it_is_desired_again() {
    for ended_before in [false, true] {
        let mut bench = Bench::new();
        bench.step(desired(1, 1, vec![spec(0, 40), spec(1, 40)]));
        assert_eq!(summary(&bench.step(desired(1, 2, vec![spec(1, 40)]))).1, [0]);
        if ended_before {
            bench.step(ended(&spec(0, 40)));
        }
        let commands = bench.step(desired(1, 3, vec![spec(0, 40), spec(1, 40)]));
        assert_eq!(summary(&commands).0, [0u32; 0], "it is not started a second time");
        let commands = if ended_before { commands } else { bench.step(ended(&spec(0, 40))) };
        let held = [(0, AttemptStatus::HandedBack), (1, AttemptStatus::Running)];
        assert_eq!(reported(&commands), (NodeState::Active, held.to_vec()));
        bench.step(desired(1, 4, vec![spec(1, 40)]));
        assert_eq!(summary(&bench.step(desired(2, 1, vec![spec(0, 40)]))).0, [0u32; 0]);
    }
}

#[test]
fn reports_at_intervals_and_only_while_connected() {
    let mut bench = Bench::new();
    assert_eq!(bench.runner.next_deadline(), Some(Millis(500)));
    bench.now = 499;
    assert!(bench.step(RunnerEvent::Tick).is_empty());
    bench.now = 500;
    assert_eq!(bench.step(RunnerEvent::Tick).len(), 1);
    bench.step(desired(1, 1, vec![spec(0, 10)]));
    bench.step(RunnerEvent::Disconnected);
    assert_eq!(bench.runner.next_deadline(), None);
    bench.now = 5_000;
    assert!(bench.step(ended(&spec(0, 10))).is_empty());
    let commands = bench.step(RunnerEvent::Connected);
    assert_eq!(summary(&commands).2, Some(vec![0]), "all of it is told when the stream is back");
}

#[test]
fn shutdown_is_reported_and_what_runs_goes_on() {
    let mut bench = Bench::new();
    bench.step(desired(1, 1, vec![spec(0, 10)]));
    let commands = bench.step(RunnerEvent::StateRequested { state: NodeState::ShuttingDown });
    let [RunnerCommand::Report(report)] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(report.state, NodeState::ShuttingDown);
    assert_eq!(report.attempts.len(), 1);
}

#[test]
fn a_superseded_life_drops_what_it_holds() {
    let mut bench = Bench::new();
    bench.step(desired(1, 1, vec![spec(0, 40), spec(1, 40), spec(2, 40)]));
    let commands = bench.step(RunnerEvent::Superseded);
    assert_eq!(summary(&commands), (vec![], vec![0, 1], None));
    let commands = bench.step(ended(&spec(0, 40)));
    assert_eq!(summary(&commands).0, [0u32; 0], "what waited is not started");
    assert!(!bench.runner.is_idle(), "not everything has ended yet");
    bench.step(ended(&spec(1, 40)));
    assert!(bench.runner.is_idle());
}

fn request(state: NodeState) -> RunnerEvent {
    RunnerEvent::StateRequested { state }
}

/// What the last report says: the state of the worker, and of its attempts by partition.
fn reported(commands: &[RunnerCommand]) -> (NodeState, Vec<(u32, AttemptStatus)>) {
    let Some(RunnerCommand::Report(report)) = commands.last() else { panic!("{commands:?}") };
    let attempts = report.attempts.iter();
    (report.state, attempts.map(|it| (it.attempt.task.partition, it.status.clone())).collect())
}

fn committed(spec: &AttemptSpec) -> RunnerEvent {
    let output = crate::OutputSize { rows: 1, partition_bytes: Arc::new([1]), checksum: 1 };
    let status = AttemptStatus::Committed { winner: spec.attempt, output };
    RunnerEvent::AttemptEnded { attempt: spec.attempt, status, peak_memory_bytes: 7 }
}

#[test]
fn leases_are_reported() {
    let mut bench = Bench::new();
    let commands = bench.step(desired(1, 1, vec![spec(0, 40)]));
    let Some(RunnerCommand::Report(report)) = commands.last() else { panic!("{commands:?}") };
    assert_eq!(report.attempts[0].memory_bytes, 40);
}

#[test]
fn draining_hands_back_what_waits_and_lets_run_what_runs() {
    let mut bench = Bench::new();
    bench.step(desired(1, 1, vec![spec(0, 40), spec(1, 40), spec(2, 40)]));
    let commands = bench.step(request(NodeState::Draining));
    assert_eq!(summary(&commands).1, [0u32; 0], "nothing is stopped");
    let running = AttemptStatus::Running;
    let expected = vec![(0, running.clone()), (1, running), (2, AttemptStatus::HandedBack)];
    assert_eq!(reported(&commands), (NodeState::Draining, expected));
    bench.step(committed(&spec(0, 40)));
    let commands = bench.step(desired(1, 2, vec![spec(1, 40), spec(3, 40)]));
    assert_eq!(summary(&commands).0, [0u32; 0], "what was on its way is not started");
    assert_eq!(reported(&commands).1[1], (3, AttemptStatus::HandedBack));
    bench.step(committed(&spec(1, 40)));
    let commands = bench.step(desired(1, 3, vec![]));
    assert_eq!(reported(&commands), (NodeState::Drained, vec![]));
    assert_eq!(bench.runner.state(), NodeState::Drained);
    assert!(bench.step(request(NodeState::Draining)).is_empty(), "it has drained");
    bench.step(request(NodeState::Active));
    assert_eq!(summary(&bench.step(desired(1, 4, vec![spec(4, 40)]))).0, [4]);
}

#[test]
fn what_runs_beyond_the_grace_is_stopped_and_handed_back() {
    let mut bench = Bench::new();
    bench.step(desired(1, 1, vec![spec(0, 40), spec(1, 40)]));
    bench.step(RunnerEvent::Disconnected);
    bench.now = 1_000;
    bench.step(request(NodeState::Draining));
    bench.now = 2_000;
    bench.step(request(NodeState::ShuttingDown));
    assert_eq!(bench.runner.next_deadline(), Some(Millis(121_000)), "the grace began with the draining");
    bench.step(RunnerEvent::Connected);
    bench.now = 121_000;
    assert_eq!(summary(&bench.step(RunnerEvent::Tick)).1, [0, 1]);
    let commands = bench.step(ended(&spec(0, 40)));
    assert_eq!(reported(&commands).1[0], (0, AttemptStatus::HandedBack), "it did not fail");
    let commands = bench.step(committed(&spec(1, 40)));
    let (state, attempts) = reported(&commands);
    assert!(matches!(attempts[1].1, AttemptStatus::Committed { .. }), "a commit counts all the same");
    assert_eq!(state, NodeState::ShuttingDown);
    bench.step(desired(1, 2, vec![]));
    assert!(bench.runner.is_idle());
    assert_eq!(bench.runner.state(), NodeState::ShuttingDown, "it does not come to rest");
}

#[test]
fn what_is_handed_back_and_not_desired_any_more_is_gone_when_it_has_ended() {
    let mut bench = Bench::new();
    bench.step(desired(1, 1, vec![spec(0, 40)]));
    bench.step(request(NodeState::Draining));
    bench.now = 120_000;
    assert_eq!(summary(&bench.step(RunnerEvent::Tick)).1, [0]);
    assert_eq!(summary(&bench.step(desired(1, 2, vec![]))).1, [0u32; 0], "it is told to stop once");
    let commands = bench.step(ended(&spec(0, 40)));
    assert_eq!(reported(&commands), (NodeState::Drained, vec![]));
}

#[test]
fn drained_cannot_be_asked_for() {
    let mut bench = Bench::new();
    assert!(bench.step(request(NodeState::Drained)).is_empty());
    assert_eq!(bench.runner.state(), NodeState::Active);
    assert_eq!(reported(&bench.step(request(NodeState::Draining))).0, NodeState::Drained, "nothing was held");
}
