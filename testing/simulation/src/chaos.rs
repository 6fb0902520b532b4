//! What befalls machines, links and clients while the chaos lasts, and how everything heals.

use std::collections::BTreeSet;

use scheduler::{NodeState, RunnerEvent};

use crate::client::Phase;
use crate::fault::Fault;
use crate::happening::Happening;
use crate::store::Key;
use crate::world::World;

/// A worker whose coordinator does not answer for so long takes the stream for broken.
const HANG_UP: u64 = 4_000;

impl World {
    pub fn chaos(&mut self) {
        self.trouble_workers();
        self.trouble_links();
        self.trouble_coordinators();
        if self.strikes(Fault::Outage) {
            self.outage_until = self.now + self.random.range(500, 15_000);
        }
        if self.strikes(Fault::RotAtRest) {
            self.rot();
        }
        if self.strikes(Fault::Cancel) {
            let client = self.random.below(self.clients.len() as u64 * 3) as usize;
            if self.clients.get(client).is_some_and(|client| client.phase == Phase::Polling) {
                self.at(1, Happening::ClientCancels { client });
            }
        }
    }

    fn any_host(&mut self) -> usize {
        self.random.below(self.hosts.len() as u64) as usize
    }

    fn trouble_workers(&mut self) {
        if self.strikes(Fault::Crash) {
            let all = self.random.below(5) == 0;
            let any = self.any_host();
            for host in 0..self.hosts.len() {
                if all || host == any {
                    self.crash_host(host, Fault::Crash);
                }
            }
        }
        let any = self.any_host();
        if self.hosts[any].up && !self.hosts[any].paused && self.strikes(Fault::Pause) {
            self.hosts[any].paused = true;
            let delay = self.random.range(100, 15_000);
            self.at(delay, Happening::Resume { host: any });
        }
        let any = self.any_host();
        if self.strikes(Fault::Slow) {
            self.hosts[any].slowness = self.random.range(2, 30);
        }
        let any = self.any_host();
        if self.hosts[any].up && !self.hosts[any].paused && self.strikes(Fault::Drain) {
            let state = [NodeState::Draining, NodeState::ShuttingDown][self.random.below(2) as usize];
            self.hosts[any].state = state;
            let life = self.hosts[any].life;
            self.step_host(any, RunnerEvent::StateRequested { state });
            if state == NodeState::Draining {
                let delay = self.random.range(100, 10_000);
                self.at(delay, Happening::Undrain { host: any, life });
            }
        }
    }

    fn trouble_links(&mut self) {
        let any = self.any_host();
        if self.hosts[any].stream.is_some() && !self.hosts[any].paused && self.strikes(Fault::Stream) {
            self.break_stream(any, true);
        }
        if self.strikes(Fault::Cut) {
            let until = self.now + self.random.range(200, 12_000);
            if self.random.below(4) == 0 {
                let machine = self.random.below(self.machines.len() as u64) as usize;
                self.store_cut[machine] = until;
            } else {
                let from_host = self.random.below(2) == 0;
                self.cuts.insert((any, from_host), until);
                // Whoever hears nothing for long hangs up.
                if let Some((_, stream)) = self.hosts[any].stream
                    && until - self.now > HANG_UP
                {
                    let life = self.hosts[any].life;
                    self.at(HANG_UP, Happening::StreamEnded { host: any, life, stream });
                }
            }
        }
    }

    fn trouble_coordinators(&mut self) {
        let any = self.random.below(self.machines.len() as u64) as usize;
        let is_up = self.machines[any].process.is_some();
        if is_up && self.strikes(Fault::CoordinatorCrash) {
            self.stop_machine(any);
            let delay = self.random.range(50, 8_000);
            self.at(delay, Happening::StartMachine { machine: any });
        }
        let is_up = self.machines[any].process.is_some();
        if is_up && !self.machines[any].paused && self.strikes(Fault::CoordinatorPause) {
            self.pause_machine(any);
        }
        if self.machines.len() > 1 && self.strikes(Fault::Failover) {
            match self.machines.iter().position(|machine| !machine.is_leading()) {
                Some(other) if self.machines[other].process.is_none() => self.start_machine(other),
                Some(other) if !self.machines[other].paused => {
                    if self.process(other).role == crate::coordinator::Role::Standby {
                        self.take_over(other);
                    }
                }
                _ => {}
            }
        }
    }

    fn pause_machine(&mut self, at: usize) {
        self.machines[at].paused = true;
        let process = self.process(at).id;
        // Some workers notice that nobody answers.
        for host in 0..self.hosts.len() {
            if let Some((to, stream)) = self.hosts[host].stream
                && to == process
                && self.random.below(2) == 0
            {
                let (life, delay) = (self.hosts[host].life, self.random.range(2_000, 8_000));
                self.at(delay, Happening::StreamEnded { host, life, stream });
            }
        }
        let delay = self.random.range(100, 20_000);
        self.at(delay, Happening::ResumeMachine { machine: at });
    }

    pub fn resume_machine(&mut self, at: usize) {
        self.machines[at].paused = false;
        for happening in std::mem::take(&mut self.machines[at].held_back) {
            self.at(1, happening);
        }
    }

    pub fn resume_host(&mut self, at: usize) {
        self.hosts[at].paused = false;
        for happening in std::mem::take(&mut self.hosts[at].held_back) {
            self.at(1, happening);
        }
    }

    /// An object that an attempt wrote is gone.
    fn rot(&mut self) {
        let is_data = |key: &&Key| matches!(key, Key::Data(_));
        let mut data: Vec<Key> = self.store.keys().filter(is_data).copied().collect();
        if self.random.below(4) > 0 {
            // What some have read and others may still have to read hurts most.
            let has_ended = |query| self.ledger.done.contains_key(&query);
            let open = self.ledger.committed.values().filter(|winner| !has_ended(winner.task.query));
            let sources = open.filter_map(|winner| self.ledger.lineage.get(winner)).flat_map(|it| it.iter());
            let read: BTreeSet<Key> = sources.map(|source| Key::Data(source.winner)).collect();
            let worst: Vec<Key> = data.iter().filter(|key| read.contains(key)).copied().collect();
            if !worst.is_empty() {
                data = worst;
            }
        }
        if data.is_empty() {
            return;
        }
        let key = data[self.random.below(data.len() as u64) as usize];
        self.ledger.note_rot(key);
        self.store.remove(&key);
    }

    pub fn end_chaos(&mut self) {
        self.calm = true;
        self.outage_until = 0;
        self.cuts.clear();
        self.store_cut.fill(0);
        for host in 0..self.hosts.len() {
            self.hosts[host].slowness = 1;
            if self.faults.is_on(Fault::Abandonment) {
                if self.hosts[host].up {
                    self.faults.note(Fault::Abandonment);
                    self.stop_host(host);
                }
                continue;
            }
            if self.hosts[host].paused {
                self.at(1, Happening::Resume { host });
            }
            if !self.hosts[host].up {
                self.at(1, Happening::Start { host });
            }
            if self.hosts[host].state == NodeState::Draining {
                let life = self.hosts[host].life;
                self.at(1, Happening::Undrain { host, life });
            }
        }
        for machine in 0..self.machines.len() {
            if self.machines[machine].paused {
                self.at(1, Happening::ResumeMachine { machine });
            }
        }
        if self.machines[0].process.is_none() && self.machines.iter().all(|it| it.process.is_none()) {
            self.at(1, Happening::StartMachine { machine: 0 });
        }
    }
}
