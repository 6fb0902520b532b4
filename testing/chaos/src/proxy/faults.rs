//! What is wrong with a link.

use std::time::Duration;

/// What is wrong with one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DirectionFaults {
    /// How much later everything arrives.
    pub latency: Duration,
    /// How much later than that it may arrive, by chance.
    pub jitter: Duration,
    /// Whether nothing arrives at all until the link heals.
    pub is_stalled: bool,
    /// How many bytes arrive in a second on each connection. None: as many as are sent.
    pub bytes_per_second_max: Option<u64>,
}

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkFaults {
    /// From the dialer to what it dials.
    pub up: DirectionFaults,
    /// From what is dialed to the dialer.
    pub down: DirectionFaults,
    /// Whether connections are reset, those that are open and those to come.
    pub is_cut: bool,
    /// After which time a connection is reset, on average.
    pub reset_interval_mean: Option<Duration>,
}

impl LinkFaults {
    /// What the dialer says does not arrive.
    pub fn stalled_up() -> Self {
        LinkFaults { up: DirectionFaults { is_stalled: true, ..Default::default() }, ..Default::default() }
    }

    /// What the dialer is told does not arrive.
    pub fn stalled_down() -> Self {
        LinkFaults { down: DirectionFaults { is_stalled: true, ..Default::default() }, ..Default::default() }
    }

    /// Nothing arrives, in either direction.
    pub fn stalled() -> Self {
        LinkFaults { down: Self::stalled_down().down, ..Self::stalled_up() }
    }

    /// Connections are refused and reset.
    pub fn cut() -> Self {
        LinkFaults { is_cut: true, ..Default::default() }
    }
}
