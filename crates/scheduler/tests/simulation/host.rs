//! A machine: the real runner, and attempts that only move numbers.

use std::collections::BTreeMap;

use base::{AttemptId, Incarnation};
use scheduler::{AttemptSpec, Capacity, PlantedBug, Runner};

use crate::world::Happening;

pub struct Host {
    pub name: base::NodeId,
    pub life: u64,
    pub runner: Runner,
    pub up: bool,
    pub paused: bool,
    pub connected: bool,
    pub draining: bool,
    /// How much slower than others it is.
    pub slowness: u64,
    pub capacity: Capacity,
    /// What happened to it while it was paused.
    pub held_back: Vec<Happening>,
    pub executions: BTreeMap<AttemptId, AttemptSpec>,
    /// When it is woken for its runner's deadline.
    pub tick_at: Option<u64>,
}

impl Host {
    pub fn new(number: usize, capacity: Capacity, bug: Option<PlantedBug>) -> Host {
        Host {
            name: base::NodeId::new(format!("w{number}")),
            life: 1,
            runner: runner(1, capacity, bug),
            up: true,
            paused: false,
            connected: false,
            draining: false,
            slowness: 1,
            capacity,
            held_back: Vec::new(),
            executions: BTreeMap::new(),
            tick_at: None,
        }
    }

    /// The process starts again, with nothing.
    pub fn restart(&mut self, bug: Option<PlantedBug>) {
        self.life += 1;
        self.runner = runner(self.life, self.capacity, bug);
        self.up = true;
        self.paused = false;
        self.connected = false;
        self.draining = false;
        self.held_back.clear();
        self.executions.clear();
        self.tick_at = None;
    }

    pub fn is_usable(&self) -> bool {
        self.up && !self.paused && self.connected && !self.draining
    }
}

fn runner(life: u64, capacity: Capacity, bug: Option<PlantedBug>) -> Runner {
    let mut runner = Runner::new(Incarnation(life), capacity);
    if let Some(bug) = bug {
        runner.plant(bug);
    }
    runner
}
