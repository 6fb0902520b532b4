//! Epochs and leases: who leads, and how the others know.

use base::Epoch;

use super::{LEASE, Purpose, Role};
use crate::bug::Bug;
use crate::happening::{Happening, Moment, Timer};
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

/// What a former leader says may be read so much later.
const LINGER: u64 = 8_000;

impl World {
    /// Wants the next epoch, whoever has the one before.
    pub fn take_over(&mut self, at: usize) {
        self.process(at).role = Role::TakingOver;
        self.shell_asks(at, Purpose::ListEpochs, Operation::List(None));
    }

    /// Looks whether the leader shows signs of life.
    pub fn watch(&mut self, at: usize) {
        if self.process(at).role == Role::Standby {
            self.wake(at, LEASE / 5, Timer::Watch);
            self.shell_asks(at, Purpose::WatchEpochs, Operation::List(None));
        }
    }

    pub fn renew(&mut self, at: usize) {
        let asked_at = self.now;
        self.wake(at, LEASE / 3, Timer::Renew);
        if self.bug == Some(Bug::FreshLeaseIsLeadership) && asked_at - self.process(at).renewed_at < LEASE {
            self.write_lease(at, asked_at);
            return;
        }
        let next = Epoch(self.process(at).epoch.0 + 1);
        self.shell_asks(at, Purpose::RenewCheck { asked_at }, Operation::Get(Key::Epoch(next)));
    }

    fn write_lease(&mut self, at: usize, asked_at: u64) {
        let process = self.process(at);
        process.renewals += 1;
        let (key, value) = (Key::Lease(process.epoch), Value::Counter(process.renewals));
        self.shell_asks(at, Purpose::Renew { asked_at }, Operation::Put(key, value));
    }

    pub fn check_fence(&mut self, at: usize) {
        let asked_at = self.now;
        let next = Epoch(self.process(at).epoch.0 + 1);
        self.shell_asks(at, Purpose::FenceCheck { asked_at }, Operation::Get(Key::Epoch(next)));
    }

    pub fn leadership_hears(&mut self, at: usize, purpose: Purpose, answer: Answer) -> Result<(), String> {
        match (purpose, answer) {
            (Purpose::ListEpochs, Answer::Listed(keys)) => {
                let next = Epoch(newest(&keys).0 + 1);
                let owner = Value::Owner(self.process(at).id);
                let operation = Operation::Create(Key::Epoch(next), owner);
                self.shell_asks(at, Purpose::CreateEpoch(next), operation);
            }
            (Purpose::CreateEpoch(epoch), Answer::Done) => self.lead(at, epoch),
            (Purpose::CreateEpoch(epoch), Answer::Exists) => {
                self.shell_asks(at, Purpose::ReadEpoch(epoch), Operation::Get(Key::Epoch(epoch)));
            }
            (Purpose::ReadEpoch(epoch), answer) => {
                // If it cannot be read whose it is, it is somebody else's.
                let id = self.process(at).id;
                if matches!(answer, Answer::Found(Value::Owner(owner)) if owner == id) {
                    self.lead(at, epoch);
                } else if self.machines[at].standby {
                    self.process(at).role = Role::Standby;
                    self.process(at).watched = None;
                    self.wake(at, 1, Timer::Watch);
                } else {
                    self.take_over(at);
                }
            }
            (Purpose::RenewCheck { asked_at }, Answer::Missing) => self.write_lease(at, asked_at),
            (Purpose::Renew { asked_at }, Answer::Done) => {
                let process = self.process(at);
                process.renewed_at = process.renewed_at.max(asked_at);
            }
            (Purpose::FenceCheck { asked_at }, Answer::Missing) => {
                let process = self.process(at);
                process.renewed_at = process.renewed_at.max(asked_at);
                for (purpose, operation) in std::mem::take(&mut process.held) {
                    self.shell_asks(at, purpose, operation);
                }
            }
            (Purpose::RenewCheck { .. } | Purpose::FenceCheck { .. }, Answer::Found(_) | Answer::Corrupt) => {
                if self.bug != Some(Bug::NoFence) {
                    self.superseded(at);
                }
            }
            (Purpose::WatchEpochs, Answer::Listed(keys)) => self.on_watched_epochs(at, newest(&keys)),
            (Purpose::WatchLease(epoch), answer) => {
                let counter = match answer {
                    Answer::Found(Value::Counter(counter)) => counter,
                    _ => 0,
                };
                self.on_watched_lease(at, epoch, counter);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_watched_epochs(&mut self, at: usize, newest: Epoch) {
        if self.process(at).role != Role::Standby {
            return;
        }
        if newest == Epoch(0) {
            self.take_over(at);
        } else {
            self.shell_asks(at, Purpose::WatchLease(newest), Operation::Get(Key::Lease(newest)));
        }
    }

    fn on_watched_lease(&mut self, at: usize, epoch: Epoch, counter: u64) {
        let now = self.now;
        let process = self.process(at);
        if process.role != Role::Standby {
            return;
        }
        match process.watched {
            Some((known, last, since)) if (known, last) == (epoch, counter) => {
                if now - since > LEASE {
                    self.sometimes("takeovers by a standby", true);
                    self.take_over(at);
                }
            }
            _ => process.watched = Some((epoch, counter, now)),
        }
    }

    /// The epoch is this process's: it reads what the lives before it left.
    fn lead(&mut self, at: usize, epoch: Epoch) {
        let now = self.now;
        let core = self.new_core(epoch);
        let process = self.process(at);
        process.epoch = epoch;
        process.core = core;
        process.renewed_at = now;
        process.role = Role::Recovering;
        self.ledger.newest_epoch = self.ledger.newest_epoch.max(epoch);
        self.wake(at, 1, Timer::Renew);
        self.recover_all(at);
        self.at(1, Happening::Moment { machine: at, kind: Moment::Lead });
        self.turn_to(at);
    }

    /// Some workers find the new leader at once, although the one before still speaks to them.
    fn turn_to(&mut self, at: usize) {
        let process = self.process(at).id;
        for host in 0..self.hosts.len() {
            if let Some((to, stream)) = self.hosts[host].stream
                && to != process
                && self.random.below(2) == 0
            {
                let (life, delay) = (self.hosts[host].life, self.random.range(50, 500));
                let until = self.now + self.random.range(0, LINGER);
                self.network.linger(stream, until);
                self.at(delay, Happening::StreamEnded { host, life, stream });
            }
        }
    }
}

/// The newest epoch that a listing names; 0 if there is none.
fn newest(keys: &[Key]) -> Epoch {
    let epoch = |key: &Key| match key {
        Key::Epoch(epoch) => Some(*epoch),
        _ => None,
    };
    keys.iter().filter_map(epoch).max().unwrap_or(Epoch(0))
}
