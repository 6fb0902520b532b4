//! One lifetime of a cluster: virtual time, a network, a store, machines, and what happens to them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use base::{AttemptId, Millis};
use scheduler::{Capacity, CoreOptions};

use crate::bug::Bug;
use crate::client::Client;
use crate::coordinator::Machine;
use crate::fault::{Changes, Fault, Faults};
use crate::happening::{Asker, Happening};
use crate::host::Host;
use crate::network::Network;
use crate::oracle::{INSPECT_EVERY, Ledger, Watch};
use crate::plan::{MEMORY_GRAIN, Plan};
use crate::random::{Random, mix};
use crate::sometimes::{RARELY, SOMETIMES};
use crate::store::{Answer, Operation, Store};

pub const CHAOS_EVERY: u64 = 200;
/// How long after the chaos everything must be over.
const CALM_MAX: u64 = 600_000;
const HAPPENINGS_MAX: u64 = 200_000;

/// What is kept of what happens.
pub enum Trace {
    Off,
    Digest(u64),
    /// Each line goes out at once.
    Print,
}

struct Entry {
    at: u64,
    number: u64,
    happening: Happening,
}

impl Ord for Entry {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

pub struct World {
    pub now: u64,
    pub random: Random,
    pub faults: Faults,
    pub calm: bool,
    pub bug: Option<Bug>,
    pub core_options: CoreOptions,
    pub hosts: Vec<Host>,
    pub machines: Vec<Machine>,
    pub plans: Vec<Rc<Plan>>,
    pub clients: Vec<Client>,
    pub store: Store,
    pub ledger: Ledger,
    pub network_mean: u64,
    pub store_mean: u64,
    pub work_mean: u64,
    /// The client of a statement is answered after so long, at the latest.
    pub first_answer_wait: u64,
    /// An output of at most so many rows is in its commit record.
    pub inline_rows_max: u64,
    /// At most so many of them travel with the attempt that reads them.
    pub carried_rows_max: u64,
    pub outage_until: u64,
    /// Until when the store cannot be reached from a machine.
    pub store_cut: Vec<u64>,
    pub network: Network,
    pub watch: Watch,
    /// How many coordinator processes there have been.
    pub processes: u64,
    pub steps: u64,
    /// The whole state of a core is checked after so many steps.
    pub check_every: u64,
    pub happenings: u64,
    pub trace: Trace,
    pub sometimes: BTreeMap<&'static str, u64>,
    pub chaos_millis: u64,
    violation: Option<String>,
    queue: BinaryHeap<Entry>,
    scheduled: u64,
    /// How many operations are on their way to the store.
    pub writes_in_flight: u64,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, changes: &Changes, trace: Trace) -> World {
        let mut random = Random::new(seed);
        let mut faults = Faults::swarm(&mut random, changes);
        // What nobody but one coordinator knows is deleted by the next one. There is no other while it lives.
        let all_recorded = random.below(2) == 0;
        if !all_recorded {
            faults.switch_off(Fault::Failover);
        }
        let core_options = CoreOptions {
            heartbeat_timeout: Millis([2_500, 5_000][random.below(2) as usize]),
            no_node_period_max: Millis(15_000),
            required_workers_wait_max: Millis(25_000),
            split_batch_count_max: random.range(1, 8) as u32,
            takeover_period: Millis([0, 300, 1_000][random.below(3) as usize]),
            ..CoreOptions::default()
        };
        let drain_grace = [0, 500, 20_000][random.below(3) as usize];
        // In a narrow cluster tasks come one after the other.
        let (hosts_max, slots_max) = if random.below(2) == 0 { (2, 1) } else { (5, 4) };
        let hosts = (0..random.range(1, hosts_max)).map(|number| {
            let slots = random.range(1, slots_max) as u32;
            let capacity = Capacity { memory_bytes: random.range(40, 100) * MEMORY_GRAIN, slots };
            Host::new(number as usize, capacity, drain_grace)
        });
        let hosts: Vec<Host> = hosts.collect();
        let two = all_recorded && random.below(2) == 0;
        let standby = two && random.below(3) > 0;
        let machine = || Machine::new(standby);
        let machines: Vec<Machine> = (0..1 + usize::from(two)).map(|_| machine()).collect();
        let mut queries = random.range(1, 4) as u32;
        if changes.queries_max > 0 {
            queries = queries.min(changes.queries_max);
        }
        let plans: Vec<Rc<Plan>> =
            (0..queries).map(|_| Rc::new(Plan::random(&mut random, &mut faults, all_recorded))).collect();
        let mut think = || [1, 50, 1_000, 5_000][random.below(4) as usize];
        let clients = (0..plans.len()).map(|plan| Client::new(plan, think())).collect();
        let works = if all_recorded { [30, 300, 1_500] } else { [10, 100, 1_000] };
        World {
            now: 0,
            network_mean: [5, 80, 400][random.below(3) as usize],
            store_mean: [1, 20, 100][random.below(3) as usize],
            // What becomes of a stage that is not what it is called is seen where data can be lost.
            inline_rows_max: match faults.is_on(Fault::Liar) {
                true => 0,
                false => [0, 4, 1_000][random.below(3) as usize],
            },
            carried_rows_max: [0, 2][random.below(2) as usize],
            work_mean: works[random.below(3) as usize],
            first_answer_wait: [400, 2_000, 5_000][random.below(3) as usize],
            chaos_millis: random.range(2_000, 30_000),
            check_every: 1,
            random,
            faults,
            calm: false,
            bug,
            core_options,
            clients,
            store_cut: vec![0; machines.len()],
            hosts,
            machines,
            plans,
            store: Store::default(),
            ledger: Ledger::default(),
            outage_until: 0,
            network: Network::default(),
            watch: Watch::default(),
            processes: 0,
            steps: 0,
            happenings: 0,
            trace,
            sometimes: BTreeMap::new(),
            violation: None,
            queue: BinaryHeap::new(),
            scheduled: 0,
            writes_in_flight: 0,
        }
    }

    pub fn at(&mut self, delay: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.push(Entry { at: self.now + delay, number: self.scheduled, happening });
    }

    /// Lives the lifetime. What was violated, if anything.
    pub fn run(&mut self) -> Result<(), String> {
        self.begin();
        while let Some(Entry { at, happening, .. }) = self.queue.pop() {
            let usable = self.is_usable();
            self.ledger.note_usable(self.now, at, !usable);
            self.now = at;
            self.happenings += 1;
            self.note(|| happening.to_string());
            self.happen(happening)?;
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if self.calm && self.is_over() {
                return self.check_end();
            }
            if at > self.chaos_millis + CALM_MAX || self.happenings > HAPPENINGS_MAX {
                return Err(format!("I-6: no end: {}", self.what_is_left()));
            }
        }
        Err("I-6: nothing more happens".to_string())
    }

    fn begin(&mut self) {
        self.start_machine(0);
        if self.machines.len() > 1 && self.machines[1].standby {
            self.start_machine(1);
        }
        let joins = self.faults.is_on(Fault::Join);
        for host in 0..self.hosts.len() {
            let late = joins && (host == 0 || self.random.below(2) == 0);
            let delay = if late { self.random.below(self.chaos_millis) } else { self.random.below(500) };
            if late {
                self.faults.note(Fault::Join);
            }
            self.hosts[host].joins_late = late;
            if self.random.below(3) == 0 && self.strikes_at(Fault::Slow, 60) {
                self.hosts[host].slowness = self.random.range(20, 100);
            }
            self.at(delay, Happening::Start { host });
        }
        // Half of the time everybody comes at once.
        let within = [self.chaos_millis, 1_000][self.random.below(2) as usize];
        for client in 0..self.clients.len() {
            let delay = self.random.below(within);
            self.at(delay, Happening::ClientWakes { client, number: 0 });
        }
        self.at(CHAOS_EVERY, Happening::Chaos);
        self.at(INSPECT_EVERY, Happening::Inspect);
        self.at(self.chaos_millis, Happening::EndOfChaos);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Dial { host, life }
            | Happening::DialRefused { host, life }
            | Happening::Connected { host, life, .. }
            | Happening::Desired { host, life, .. }
            | Happening::StreamEnded { host, life, .. }
            | Happening::HostTick { host, life, .. }
            | Happening::Progress { host, life, .. }
            | Happening::Pull { host, life, .. }
            | Happening::Drain { host, life, .. }
            | Happening::Undrain { host, life }
            | Happening::Stopped { host, life, .. } => self.on_host(host, life, happening)?,
            Happening::DialArrives { host, life, machine } => self.dial_arrives(host, life, machine),
            Happening::Report { process, .. }
            | Happening::WorkerGone { process, .. }
            | Happening::CoreTick { process, .. }
            | Happening::Shell { process, .. }
            | Happening::Answered { asker: Asker::Shell { process, .. }, .. } => {
                self.on_process(process, happening)?;
            }
            Happening::Answered { asker: Asker::Attempt { host, life, attempt, part }, answer } => {
                self.on_attempt_answered(host, life, attempt, part, answer)?;
            }
            Happening::Apply { asker, operation, lose_answer } => {
                self.writes_in_flight -= 1;
                self.apply(asker, operation, lose_answer)?;
            }
            Happening::ListRest { asker, of, order, listed } => self.list_rest(asker, of, order, listed),
            Happening::ClientWakes { client, number } => self.client_wakes(client, number),
            Happening::Request { machine, client, number, request } => {
                self.on_request(machine, client, number, request)?;
            }
            Happening::Response { machine, client, number, response } => {
                self.client_hears(client, machine, number, response)?;
            }
            Happening::ClientCancels { client } => self.client_cancels(client),
            Happening::Start { host } => self.start_host(host),
            Happening::Resume { host } => self.resume_host(host),
            Happening::StartMachine { machine } => self.start_machine(machine),
            Happening::ResumeMachine { machine } => self.resume_machine(machine)?,
            Happening::Chaos => {
                if !self.calm {
                    self.chaos();
                    self.at(CHAOS_EVERY, Happening::Chaos);
                }
            }
            Happening::EndOfChaos => self.end_chaos(),
            Happening::Moment { machine, kind } => self.bad_moment(machine, kind),
            Happening::Inspect => {
                self.inspect()?;
                self.at(INSPECT_EVERY, Happening::Inspect);
            }
        }
        Ok(())
    }

    /// Whether a fault strikes. None does when the chaos is over.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        !self.calm && self.faults.strikes(&mut self.random, fault)
    }

    /// The same at a moment at which the fault hurts.
    pub fn strikes_at(&mut self, fault: Fault, times: u64) -> bool {
        !self.calm && self.faults.strikes_at(&mut self.random, fault, times)
    }

    /// Counts something that must happen sometimes, or else it was not tested.
    pub fn sometimes(&mut self, name: &'static str, happened: bool) {
        debug_assert!(SOMETIMES.contains(&name) || RARELY.contains(&name), "'{name}' is not listed");
        *self.sometimes.entry(name).or_default() += u64::from(happened);
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        match &mut self.trace {
            Trace::Off => {}
            Trace::Digest(digest) => {
                let line = line();
                *digest = line.bytes().fold(mix(*digest ^ self.now), |sum, byte| mix(sum ^ u64::from(byte)));
            }
            Trace::Print => {
                let line = line();
                if !line.is_empty() {
                    println!("{:>8} {line}", self.now);
                }
            }
        }
    }

    /// Ends the lifetime with a violation found where nothing can be returned.
    pub fn violate(&mut self, violation: String) {
        self.violation.get_or_insert(violation);
    }

    pub fn plan_of(&self, attempt: AttemptId) -> Rc<Plan> {
        self.plans[self.ledger.plans[&attempt.task.query]].clone()
    }

    /// What is on its way.
    pub fn scheduled(&self) -> impl Iterator<Item = &Happening> {
        self.queue.iter().map(|entry| &entry.happening)
    }

    /// Asks the store. The answer comes, one way or another.
    pub fn ask(&mut self, asker: Asker, operation: Operation) {
        let mut delay = self.random.delay(self.store_mean);
        if self.strikes_at(Fault::Slow, 2) {
            delay += self.random.range(500, 15_000);
        }
        if self.strikes(Fault::Refusal) {
            self.at(delay, Happening::Answered { asker, answer: Answer::Refused });
            return;
        }
        let lose_answer = self.strikes(Fault::LostAnswer);
        self.writes_in_flight += 1;
        self.at(delay, Happening::Apply { asker, operation, lose_answer });
    }

    pub fn answer(&mut self, asker: Asker, answer: Answer) {
        let delay = self.random.delay(self.store_mean);
        self.at(delay, Happening::Answered { asker, answer });
    }

    fn on_attempt_answered(
        &mut self,
        host: usize,
        life: u64,
        attempt: AttemptId,
        part: crate::happening::Part,
        answer: Answer,
    ) -> Result<(), String> {
        let state = &mut self.hosts[host];
        if !state.up || state.life != life {
            return Ok(());
        }
        if state.paused {
            let asker = Asker::Attempt { host, life, attempt, part };
            state.held_back.push(Happening::Answered { asker, answer });
            return Ok(());
        }
        self.attempt_hears(host, attempt, part, answer)
    }
}
