//! What befalls machines, links and clients while the chaos lasts, and how everything heals.

use scheduler::{NodeState, RunnerEvent};

use crate::client::Phase;
use crate::coordinator::Role;
use crate::fault::Fault;
use crate::happening::{Happening, Moment};
use crate::world::World;

/// How much more likely a fault is at a moment at which it hurts.
const AT_THE_MOMENT: u64 = 6;
/// The same at one that is over soon.
const AT_THE_WORST_MOMENT: u64 = 20;
/// Between two workers of a rolling restart lies so much at most.
const ROLLING_MAX: u64 = 1_500;

impl World {
    pub fn chaos(&mut self) {
        let any = self.any_host();
        for fault in [Fault::Crash, Fault::Pause, Fault::Slow, Fault::Drain, Fault::Stream, Fault::Cut] {
            if self.strikes(fault) {
                self.strike_host(fault, any);
            }
        }
        let machine = self.random.below(self.machines.len() as u64) as usize;
        for fault in [Fault::CoordinatorCrash, Fault::CoordinatorPause, Fault::Failover] {
            if self.can_strike(fault, machine) && self.strikes(fault) {
                self.strike_machine(fault, machine);
            }
        }
        for fault in [Fault::Outage, Fault::RotAtRest, Fault::RecordRot, Fault::Cancel] {
            if self.strikes(fault) {
                self.strike_others(fault);
            }
        }
    }

    /// Something was just decided or found out at a coordinator.
    pub fn bad_moment(&mut self, machine: usize, kind: Moment) {
        let faults: &[Fault] = match kind {
            Moment::Work => &[
                Fault::Crash,
                Fault::Pause,
                Fault::Drain,
                Fault::Stream,
                Fault::Cut,
                Fault::CoordinatorCrash,
                Fault::CoordinatorPause,
                Fault::Failover,
                Fault::Failover,
                Fault::Outage,
                Fault::RotAtRest,
                Fault::RotAtRest,
                Fault::Cancel,
            ],
            Moment::Lead => &[
                Fault::Crash,
                Fault::Drain,
                Fault::CoordinatorCrash,
                Fault::CoordinatorPause,
                Fault::Outage,
                Fault::RotAtRest,
                Fault::RotAtRest,
                Fault::RecordRot,
                Fault::Cancel,
            ],
            Moment::Region => {
                &[Fault::Crash, Fault::Crash, Fault::Crash, Fault::Pause, Fault::Stream, Fault::Drain]
            }
            Moment::Late => &[
                Fault::CoordinatorCrash,
                Fault::CoordinatorCrash,
                Fault::CoordinatorCrash,
                Fault::RotAtRest,
                Fault::Crash,
                Fault::Pause,
            ],
            Moment::Read => &[Fault::CoordinatorCrash, Fault::RotAtRest],
            Moment::End => &[
                Fault::CoordinatorCrash,
                Fault::CoordinatorPause,
                Fault::Failover,
                Fault::Failover,
                Fault::RotAtRest,
                Fault::RecordRot,
                Fault::Cancel,
                Fault::Cancel,
            ],
        };
        let fault = faults[self.random.below(faults.len() as u64) as usize];
        let any = self.any_host();
        let times = match kind {
            Moment::Work | Moment::Lead | Moment::End => AT_THE_MOMENT,
            Moment::Region | Moment::Late | Moment::Read => AT_THE_WORST_MOMENT,
        };
        if !self.can_strike(fault, machine) || !self.strikes_at(fault, times) {
            return;
        }
        self.sometimes("faults at bad moments", true);
        match fault {
            Fault::CoordinatorCrash | Fault::CoordinatorPause | Fault::Failover => {
                self.strike_machine(fault, machine);
            }
            Fault::Outage | Fault::RotAtRest | Fault::RecordRot | Fault::Cancel => self.strike_others(fault),
            _ => self.strike_host(fault, any),
        }
    }

    fn any_host(&mut self) -> usize {
        self.random.below(self.hosts.len() as u64) as usize
    }

    fn strike_host(&mut self, fault: Fault, any: usize) {
        let is_awake = self.hosts[any].up && !self.hosts[any].paused;
        match fault {
            Fault::Crash => {
                let all = self.random.below(5) == 0;
                for host in 0..self.hosts.len() {
                    if all || host == any {
                        self.crash_host(host);
                    }
                }
            }
            Fault::Pause if is_awake => {
                self.hosts[any].paused = true;
                self.hosts[any].paused_at = self.now;
                let most = [4_000, 15_000][self.random.below(2) as usize];
                let delay = self.random.range(100, most);
                self.ledger.note_trouble(any, self.now + delay);
                self.at(delay, Happening::Resume { host: any });
            }
            Fault::Slow => self.hosts[any].slowness = self.random.range(2, 30),
            Fault::Drain => {
                let state = [NodeState::Draining, NodeState::ShuttingDown][self.random.below(2) as usize];
                let rolling = self.random.below(4) == 0;
                let mut delay = 1;
                for host in 0..self.hosts.len() {
                    if rolling || host == any {
                        let life = self.hosts[host].life;
                        self.at(delay, Happening::Drain { host, life, state });
                        delay += self.random.range(1, ROLLING_MAX);
                    }
                }
            }
            Fault::Stream if is_awake => self.break_stream(any, true),
            Fault::Cut => match self.random.below(4) {
                0 => {
                    let machine = self.random.below(self.machines.len() as u64) as usize;
                    self.store_cut[machine] = self.now + self.random.range(200, 12_000);
                }
                _ => self.cut(any),
            },
            _ => {}
        }
    }

    /// Whether a coordinator is in the state that a fault changes.
    fn can_strike(&self, fault: Fault, machine: usize) -> bool {
        match fault {
            Fault::CoordinatorCrash => self.machines[machine].process.is_some(),
            Fault::CoordinatorPause => {
                self.machines[machine].process.is_some() && !self.machines[machine].paused
            }
            Fault::Failover => self.machines.len() > 1,
            _ => true,
        }
    }

    fn strike_machine(&mut self, fault: Fault, machine: usize) {
        match fault {
            Fault::CoordinatorCrash => {
                self.machines[machine].forget();
                self.stop_machine(machine);
                let delay = self.random.range(50, 8_000);
                self.at(delay, Happening::StartMachine { machine });
            }
            Fault::CoordinatorPause => self.pause_machine(machine),
            _ => match self.machines.iter().position(|machine| !machine.is_leading()) {
                Some(other) if self.machines[other].process.is_none() => self.start_machine(other),
                Some(other) if !self.machines[other].paused => {
                    if self.process(other).role == Role::Standby {
                        self.take_over(other);
                    }
                }
                _ => {}
            },
        }
    }

    fn strike_others(&mut self, fault: Fault) {
        match fault {
            Fault::Outage => self.outage_until = self.now + self.random.range(500, 15_000),
            Fault::RotAtRest => self.rot(),
            Fault::RecordRot => self.rot_record(),
            _ => {
                let client = self.random.below(self.clients.len() as u64) as usize;
                if self.clients[client].phase == Phase::Polling {
                    self.at(1, Happening::ClientCancels { client });
                }
            }
        }
    }

    /// A worker is told to drain or to shut down.
    pub fn drain_host(&mut self, host: usize, state: NodeState) {
        self.hosts[host].state = state;
        let life = self.hosts[host].life;
        self.step_host(host, RunnerEvent::StateRequested { state });
        if state == NodeState::Draining {
            let delay = self.random.range(100, 10_000);
            self.at(delay, Happening::Undrain { host, life });
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
        self.machines[at].slept = Some((self.now, self.now + delay));
        self.at(delay, Happening::ResumeMachine { machine: at });
    }

    pub fn resume_host(&mut self, at: usize) {
        if !std::mem::take(&mut self.hosts[at].paused) {
            return;
        }
        self.ledger.note_trouble(at, self.now);
        self.watchdog_wakes(at);
        for happening in std::mem::take(&mut self.hosts[at].held_back) {
            self.at(1, happening);
        }
    }

    pub fn end_chaos(&mut self) {
        self.calm = true;
        self.outage_until = 0;
        self.network.heal();
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
