//! I-8: nothing fails without a cause, and nobody is taken for lost without one.

use base::{Error, ErrorCode, QueryId};
use scheduler::{NodeState, QueryOptions};

use crate::coordinator::STANDSTILL_MIN;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::world::World;

/// So long a core may take to notice what the world knows.
const NOTICE_MAX: u64 = 9_000;
/// The shortest time without workers that ends a query.
const NO_WORKERS: u64 = 15_000;
/// A worker may be taken for lost so long after it could not be heard.
const SILENCE_MAX: u64 = 8_000;

impl World {
    /// Whether there is a worker that could work for the newest leader.
    pub fn is_usable(&self) -> bool {
        self.hosts.iter().enumerate().any(|(at, host)| {
            let leader = host.stream.is_some_and(|(process, _)| {
                self.machine_of(process).is_some_and(|machine| {
                    let machine = &self.machines[machine];
                    let epoch = machine.process.as_ref().map(|process| process.epoch);
                    !machine.paused && epoch == Some(self.ledger.newest_epoch)
                })
            });
            host.up && !host.paused && host.state == NodeState::Active && leader && !self.is_cut(at)
        })
    }

    /// What ends a query with an error must have happened.
    pub fn explains(&self, query: QueryId, plan: &Plan, error: &Error) -> bool {
        let (ledger, options) = (&self.ledger, &plan.options);
        let exhausted = ledger.failures_of(query).any(|count| count > options.task_retry_attempts_per_task)
            || options.failed_tasks_max.is_some_and(|max| ledger.failures_of(query).sum::<u32>() > max);
        let failed = ledger.failures_of(query).any(|count| count > 0);
        // Lost workers beyond the free ones count too.
        let count = |fault: Fault| self.faults.count(fault);
        let lossy = count(Fault::Crash)
            + count(Fault::Pause)
            + count(Fault::Stream)
            + count(Fault::Cut)
            + count(Fault::Drain)
            + count(Fault::Message)
            + count(Fault::CoordinatorPause)
            + u64::from(plan.is_region()) * (count(Fault::CoordinatorCrash) + count(Fault::Abandonment))
            > if plan.is_region() { 0 } else { 3 };
        match error.code() {
            ErrorCode::USER_CANCELED => ledger.cancelled.contains(&query),
            ErrorCode::DIVISION_BY_ZERO => ledger.user_error.contains(&query),
            ErrorCode::EXCHANGE_DATA_LOST => self.explains_loss(query, options),
            ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT => ledger.out_of_memory.contains(&query),
            ErrorCode::GENERIC_INTERNAL_ERROR | ErrorCode::HIVE_CANNOT_OPEN_SPLIT => {
                let tries = if plan.is_streamed() { 0 } else { options.query_retry_attempts };
                let is_over = plan.is_region() && ledger.failures_of(query).sum::<u32>() > tries;
                exhausted || is_over || lossy && failed
            }
            ErrorCode::SERVER_SHUTTING_DOWN => plan.is_streamed() && count(Fault::Drain) > 0,
            ErrorCode::REMOTE_HOST_GONE => lossy,
            ErrorCode::NO_NODES_AVAILABLE | ErrorCode::GENERIC_INSUFFICIENT_RESOURCES => {
                ledger.unusable_longest + NOTICE_MAX >= NO_WORKERS
            }
            _ => false,
        }
    }

    /// Data that are lost are made again: unless that was done too often, or the client has begun to read them.
    fn explains_loss(&self, query: QueryId, options: &QueryOptions) -> bool {
        let ledger = &self.ledger;
        let ended_before = ledger.done.get(&query).is_some_and(Result::is_ok);
        let is_too_often = ledger.rollbacks_of(query) >= options.generations_max || !options.is_durable;
        let has_rotted = ledger.rotten.contains_key(&query);
        ledger.unreadable.contains(&query)
            || has_rotted && (ended_before || is_too_often || ledger.result_read.contains(&query))
    }

    /// A core takes a worker for lost: nobody may have heard of it for a while.
    pub fn check_loss(&self, at: usize, host: usize, life: u64) -> Result<(), String> {
        let (state, machine) = (&self.hosts[host], &self.machines[at]);
        let Some(process) = &machine.process else {
            return Ok(());
        };
        let is_there = state.up && state.life == life && !state.paused && !self.is_cut(host);
        let newest = self.ledger.streams.get(&(process.id, host));
        let is_attached = newest.is_some_and(|newest| state.stream == Some((process.id, *newest)));
        let since_trouble = self.ledger.trouble_of(host).map(|until| self.now.saturating_sub(until));
        let had_trouble = since_trouble.is_some_and(|since| since < SILENCE_MAX);
        let slept = machine.slept.is_some_and(|(from, until)| {
            until - from <= STANDSTILL_MIN && self.now.saturating_sub(until) < SILENCE_MAX
        });
        if is_there && is_attached && !had_trouble && !slept && !self.faults.is_on(Fault::Message) {
            return Err(format!("I-8: {} is taken for lost, and nothing has happened to it", state.name));
        }
        Ok(())
    }
}

/// What is counted of the errors that clients are told.
pub fn error_name(error: &Error) -> &'static str {
    match error.code() {
        ErrorCode::USER_CANCELED => "cancelled queries",
        ErrorCode::DIVISION_BY_ZERO => "user errors told",
        ErrorCode::EXCHANGE_DATA_LOST => "data lost for good",
        ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT => "tasks too large for every worker",
        ErrorCode::REMOTE_HOST_GONE => "tasks that lost too many workers",
        ErrorCode::SERVER_SHUTTING_DOWN => "queries that ended with a worker that drained",
        ErrorCode::NO_NODES_AVAILABLE | ErrorCode::GENERIC_INSUFFICIENT_RESOURCES => {
            "no workers for too long"
        }
        _ => "tasks that failed too often",
    }
}
