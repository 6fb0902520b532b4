//! What goes wrong in a lifetime, and how often.

use crate::random::Random;

/// A class of faults. Each is switched off in half of the lifetimes, because noise everywhere hides bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Fault {
    /// A message on a stream between a worker and a coordinator is lost, arrives twice, or overtakes others.
    Message,
    /// A link carries nothing in one direction for a while; if that is long, its streams never carry anything again.
    Cut,
    /// A stream between a worker and a coordinator breaks.
    Stream,
    /// A worker's process dies, or all of them do at once, or a task kills whoever runs it.
    Crash,
    /// A worker's process stands still, and goes on later as if nothing had been.
    Pause,
    /// A worker becomes many times slower, or a request to the store takes very long.
    Slow,
    /// A worker is told to drain or to shut down, or one after the other is.
    Drain,
    /// A worker joins while queries run.
    Join,
    /// The store refuses an operation.
    Refusal,
    /// The store carries an operation out and the answer is lost.
    LostAnswer,
    /// The store answers nobody for a while.
    Outage,
    /// What an attempt writes is not what is stored.
    RotAtWrite,
    /// What an attempt has stored vanishes, or cannot be read any more.
    RotAtRest,
    /// What a coordinator has recorded cannot be read any more.
    RecordRot,
    /// The coordinator's process dies.
    CoordinatorCrash,
    /// The coordinator's process stands still, and goes on later as if nothing had been.
    CoordinatorPause,
    /// A second coordinator takes over although the first one lives.
    Failover,
    /// A client cancels its query.
    Cancel,
    /// A client vanishes.
    Vanish,
    /// A client loses an answer, or asks twice.
    Reask,
    /// The statement is at fault.
    UserError,
    /// An attempt fails, by the engine's or by somebody else's fault.
    AttemptError,
    /// A stage is called determinate and is not.
    Liar,
    /// No worker comes back after the chaos.
    Abandonment,
}

impl Fault {
    /// How many classes there are.
    pub const COUNT: usize = Fault::Abandonment as usize + 1;

    /// Every class.
    pub const ALL: [Fault; Fault::COUNT] = [
        Fault::Message,
        Fault::Cut,
        Fault::Stream,
        Fault::Crash,
        Fault::Pause,
        Fault::Slow,
        Fault::Drain,
        Fault::Join,
        Fault::Refusal,
        Fault::LostAnswer,
        Fault::Outage,
        Fault::RotAtWrite,
        Fault::RotAtRest,
        Fault::RecordRot,
        Fault::CoordinatorCrash,
        Fault::CoordinatorPause,
        Fault::Failover,
        Fault::Cancel,
        Fault::Vanish,
        Fault::Reask,
        Fault::UserError,
        Fault::AttemptError,
        Fault::Liar,
        Fault::Abandonment,
    ];

    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Message => "message",
            Fault::Cut => "cut",
            Fault::Stream => "stream",
            Fault::Crash => "crash",
            Fault::Pause => "pause",
            Fault::Slow => "slow",
            Fault::Drain => "drain",
            Fault::Join => "join",
            Fault::Refusal => "refusal",
            Fault::LostAnswer => "lost-answer",
            Fault::Outage => "outage",
            Fault::RotAtWrite => "rot-at-write",
            Fault::RotAtRest => "rot-at-rest",
            Fault::RecordRot => "record-rot",
            Fault::CoordinatorCrash => "coordinator-crash",
            Fault::CoordinatorPause => "coordinator-pause",
            Fault::Failover => "failover",
            Fault::Cancel => "cancel",
            Fault::Vanish => "vanish",
            Fault::Reask => "reask",
            Fault::UserError => "user-error",
            Fault::AttemptError => "attempt-error",
            Fault::Liar => "liar",
            Fault::Abandonment => "abandonment",
        }
    }

    /// The highest rate of the class, in millionths of its occasions.
    fn rate_max(self) -> u64 {
        match self {
            Fault::Message => 250_000,
            Fault::Cut | Fault::Stream => 60_000,
            Fault::Crash => 80_000,
            Fault::Pause => 50_000,
            Fault::Slow => 50_000,
            Fault::Drain => 30_000,
            Fault::Join => 1_000_000,
            Fault::Refusal => 150_000,
            Fault::LostAnswer => 120_000,
            Fault::Outage => 30_000,
            Fault::RotAtWrite => 250_000,
            Fault::RotAtRest => 300_000,
            Fault::RecordRot => 100_000,
            Fault::CoordinatorCrash => 80_000,
            Fault::CoordinatorPause => 50_000,
            Fault::Failover => 100_000,
            Fault::Cancel => 60_000,
            Fault::Vanish => 60_000,
            Fault::Reask => 300_000,
            Fault::UserError => 60_000,
            Fault::AttemptError => 150_000,
            Fault::Liar => 600_000,
            Fault::Abandonment => 1_000_000,
        }
    }
}

/// How often each class strikes in a lifetime, and how often it did.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    rates: [u64; Fault::COUNT],
    counts: [u64; Fault::COUNT],
}

/// What is changed of the rates that a seed gives: for shrinking, and to learn which fault finds which bug.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Classes that are switched off.
    pub off: Vec<Fault>,
    /// How many times the rates are halved.
    pub halvings: u32,
    /// How many queries there are at most; 0: as many as the seed says.
    pub queries_max: u32,
}

impl Faults {
    /// The rates that a seed gives.
    pub fn swarm(random: &mut Random, changes: &Changes) -> Faults {
        let mut rates = [0; Fault::COUNT];
        for fault in Fault::ALL {
            let (on, rate) = (random.below(2) == 0, 1 + random.below(fault.rate_max()));
            let wanted = match fault {
                Fault::Abandonment => u64::from(random.below(16) == 0) * 1_000_000,
                _ if on => rate,
                _ => 0,
            };
            if !changes.off.contains(&fault) {
                rates[fault as usize] = wanted >> changes.halvings;
            }
        }
        Faults { rates, counts: [0; Fault::COUNT] }
    }

    /// Switches a class off.
    pub fn switch_off(&mut self, fault: Fault) {
        self.rates[fault as usize] = 0;
    }

    /// Whether the class is on in this lifetime.
    pub fn is_on(&self, fault: Fault) -> bool {
        self.rates[fault as usize] > 0
    }

    /// Whether a fault strikes now. If so, it is counted.
    pub fn strikes(&mut self, random: &mut Random, fault: Fault) -> bool {
        self.strikes_at(random, fault, 1)
    }

    /// The same at a moment at which the fault hurts: so many times more likely.
    pub fn strikes_at(&mut self, random: &mut Random, fault: Fault, times: u64) -> bool {
        let rate = self.rates[fault as usize].saturating_mul(times);
        let strikes = rate > 0 && random.chance(rate);
        self.counts[fault as usize] += u64::from(strikes);
        strikes
    }

    /// Counts a fault that was decided elsewhere.
    pub fn note(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// How often the class struck.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }
}
