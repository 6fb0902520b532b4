//! What goes wrong in a lifetime, and how often.

use crate::random::Random;

/// Swarm options: every class of fault is off in half of the seeds, and its rate is random otherwise. Rates are
/// in millionths.
pub struct Faults {
    pub chaos_millis: u64,
    pub network_mean: u64,
    pub loss: u64,
    pub duplication: u64,
    pub crash: u64,
    pub crash_all: u64,
    pub pause: u64,
    pub disconnect: u64,
    pub drain: u64,
    pub slow: u64,
    pub internal: u64,
    pub external: u64,
    pub user: u64,
    pub cancel: u64,
    /// Nobody comes back after the chaos.
    pub abandon: bool,
}

impl Faults {
    pub fn swarm(random: &mut Random) -> Faults {
        let mut on = |max: u64| {
            if random.below(2) == 0 { 0 } else { 1 + random.below(max) }
        };
        let (loss, duplication) = (on(200_000), on(200_000));
        let (crash, crash_all, pause, disconnect, drain) =
            (on(80_000), on(20_000), on(50_000), on(60_000), on(30_000));
        let (slow, internal, external) = (on(40_000), on(150_000), on(150_000));
        let (user, cancel) = (on(30_000), on(150_000));
        Faults {
            chaos_millis: random.range(2_000, 20_000),
            network_mean: random.range(1, 80),
            loss,
            duplication,
            crash,
            crash_all,
            pause,
            disconnect,
            drain,
            slow,
            internal,
            external,
            user,
            cancel,
            abandon: random.below(16) == 0,
        }
    }
}

/// How often something happened: what is never counted was never tested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    pub messages_lost: u64,
    pub messages_duplicated: u64,
    pub crashes: u64,
    pub pauses: u64,
    pub disconnects: u64,
    pub drains: u64,
    pub failures_internal: u64,
    pub failures_memory: u64,
    pub failures_user: u64,
    pub cancellations: u64,
    pub commit_races_lost: u64,
    pub commits_of_the_dead: u64,
    pub stages_sealed: u64,
    pub answers_right: u64,
    pub errors_explained: u64,
    pub errors_no_nodes: u64,
}

macro_rules! sum_coverage {
    ($($field:ident)*) => {
        impl Coverage {
            pub fn add(&mut self, other: &Coverage) {
                $(self.$field += other.$field;)*
            }

            /// What was never seen.
            pub fn missing(&self) -> Vec<&'static str> {
                let mut missing = Vec::new();
                $(if self.$field == 0 { missing.push(stringify!($field)); })*
                missing
            }
        }
    };
}

sum_coverage! {
    messages_lost messages_duplicated crashes pauses disconnects drains failures_internal failures_memory
    failures_user cancellations commit_races_lost commits_of_the_dead stages_sealed answers_right
    errors_explained errors_no_nodes
}
