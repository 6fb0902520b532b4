//! What an attempt does on a machine: read what was selected, move the rows, commit. Or fail.

use base::{AttemptId, Error, ErrorCode, OutputId, QueryId, StageId, TaskId};
use scheduler::{AttemptStatus, Distribution, Edge, RunnerEvent, TaskInput};

use crate::plan::Plan;
use crate::random::mix;
use crate::world::{Bug, Happening, World};

impl World {
    /// An attempt has done its work: it fails, or writes its output and tries to commit it.
    pub fn compute(&mut self, host: usize, attempt: AttemptId) -> Result<(), String> {
        let Some(spec) = self.hosts[host].executions.get(&attempt).cloned() else {
            return Ok(());
        };
        let plan = self.plans.iter().find(|plan| plan.id == attempt.task.query).expect("it is one of ours");
        let needed = plan.memory_needed[attempt.task.stage.0 as usize];
        let peak = needed.min(spec.memory_bytes);
        if let Some(error) = self.injected_failure(&attempt, needed, spec.memory_bytes) {
            self.hosts[host].executions.remove(&attempt);
            let status = AttemptStatus::Failed(error.into());
            self.step_host(host, RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes: peak });
            return Ok(());
        }
        let plan = self.plans.iter().find(|plan| plan.id == attempt.task.query).expect("it is one of ours");
        let rows = self.read_input(plan, attempt.task.stage, &spec.input)?;
        let stage = &plan.shape.stages[attempt.task.stage.0 as usize];
        let mut partitions = vec![Vec::new(); stage.output_partitions as usize];
        // What is not determinate sends its rows elsewhere each time.
        let salt = if stage.determinate { 0 } else { u64::from(attempt.number) + 1 };
        for row in rows {
            partitions[(mix(row ^ (salt << 50)) % u64::from(stage.output_partitions)) as usize].push(row);
        }
        self.store.write(attempt, partitions);
        let (delay, life) = (self.random.delay(60), self.hosts[host].life);
        self.at(delay, Happening::Commit { host, life, attempt });
        Ok(())
    }

    /// A commit arrives at the store; its worker hears of it if it still lives.
    pub fn commit(&mut self, host: usize, life: u64, attempt: AttemptId) -> Result<(), String> {
        let alive = self.hosts[host].up && self.hosts[host].life == life;
        if alive && self.hosts[host].paused {
            self.hosts[host].held_back.push(Happening::Commit { host, life, attempt });
            return Ok(());
        }
        if !alive && self.random.below(2) == 0 {
            return Ok(());
        }
        let (winner, output) = self.store.commit(attempt, self.bug == Some(Bug::UnconditionalCommit));
        self.coverage.commit_races_lost += u64::from(winner != attempt);
        if !alive {
            self.coverage.commits_of_the_dead += 1;
            return Ok(());
        }
        if self.hosts[host].executions.remove(&attempt).is_some() {
            let status = AttemptStatus::Committed { winner, output };
            let plan =
                self.plans.iter().find(|plan| plan.id == attempt.task.query).expect("it is one of ours");
            let peak_memory_bytes = plan.memory_needed[attempt.task.stage.0 as usize];
            self.step_host(host, RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes });
        }
        Ok(())
    }

    fn injected_failure(&mut self, attempt: &AttemptId, needed: u64, lease: u64) -> Option<Error> {
        let query = attempt.task.query;
        if lease < needed {
            self.coverage.failures_memory += 1;
            self.ledger.note_failure(attempt.task);
            self.ledger.out_of_memory.insert(query);
            return Some(Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "the lease is too small"));
        }
        if self.calm {
            return None;
        }
        if self.random.chance(self.faults.user) {
            self.coverage.failures_user += 1;
            self.ledger.user_error.insert(query);
            return Some(Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero"));
        }
        let code = if self.random.chance(self.faults.internal) {
            ErrorCode::GENERIC_INTERNAL_ERROR
        } else if self.random.chance(self.faults.external) {
            ErrorCode::HIVE_CANNOT_OPEN_SPLIT
        } else {
            return None;
        };
        self.coverage.failures_internal += 1;
        self.ledger.note_failure(attempt.task);
        Some(Error::new(code, "it happens"))
    }

    fn read_input(&self, plan: &Plan, id: StageId, input: &TaskInput) -> Result<Vec<u64>, String> {
        let stage = &plan.shape.stages[id.0 as usize];
        let mut rows = plan.values.get(&id).cloned().unwrap_or_default();
        for (scan, numbers) in input.splits.iter().enumerate() {
            let splits = &plan.splits[&(id, scan as u32)];
            for number in numbers {
                rows.extend(splits.get(*number as usize).ok_or("I-3: a split that is not there")?);
            }
        }
        let single = stage.distribution == Distribution::Single;
        for (at, shape) in stage.inputs.iter().enumerate() {
            for (at_producer, producer) in shape.producers.iter().enumerate() {
                let outputs = self.outputs(plan.id, *producer)?;
                let all = 0..outputs.len();
                match shape.edge {
                    Edge::Broadcast => {
                        let mut read: Vec<u64> = outputs.into_iter().flatten().flatten().copied().collect();
                        read.sort_unstable();
                        if read != plan.expected(*producer) {
                            return Err(format!("I-3: stage {id} of {} is sent wrong rows", plan.id));
                        }
                    }
                    Edge::Arbitrary => {
                        let range = &input.sources[at][at_producer];
                        let range = range.start as usize..range.end as usize;
                        if single && range != all {
                            return Err("I-3: a single task does not read everything".to_string());
                        }
                        rows.extend(outputs[range].iter().copied().flatten().flatten());
                    }
                    Edge::Hash => {
                        for output in outputs {
                            let end = (input.partitions.end as usize).min(output.len());
                            rows.extend(output[input.partitions.start as usize..end].iter().flatten());
                        }
                    }
                    Edge::Single => rows.extend(outputs.into_iter().flatten().flatten()),
                }
            }
        }
        Ok(rows)
    }

    /// The selected outputs of all tasks of a stage, by task and partition.
    pub fn outputs(&self, query: QueryId, stage: StageId) -> Result<Vec<&Vec<Vec<u64>>>, String> {
        let tasks = self.ledger.sealed.get(&(query, stage)).ok_or("I-2: the producer is not sealed")?;
        let selected = (0..*tasks).map(|partition| {
            let output = OutputId { task: TaskId { query, stage, partition }, generation: 0 };
            let winner = self.ledger.selected.get(&output).ok_or("I-2: the producer is not complete")?;
            self.store.read(winner).ok_or_else(|| "I-2: the winner wrote nothing".to_string())
        });
        selected.collect()
    }
}
