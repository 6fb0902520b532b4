//! Slow workers are known as such, and used last.

use scheduler::{AttemptSpec, NodeState};

use crate::world::World;

/// A worker that has said nothing for so long is slow. It is lost after 2.5 seconds at the earliest.
const QUIET_MAX: u64 = 2_200;

impl World {
    /// A worker that says nothing is taken for slow before it is taken for lost.
    pub fn check_quiet(&self, at: usize) -> Result<(), String> {
        let Some(process) = &self.machines[at].process else {
            return Ok(());
        };
        // What a coordinator missed while it stood still is not held against workers.
        let slept = self.machines[at].slept.is_some_and(|(_, until)| self.now < until + QUIET_MAX);
        for host in self.hosts.iter().filter(|host| host.up && host.paused && !slept) {
            // What it had said before arrives for a while.
            let said_nothing = self.now.saturating_sub(host.paused_at);
            let node = process.core.nodes().find(|node| *node.node == host.name);
            let is_there =
                node.as_ref().is_some_and(|it| it.state.is_some() && it.incarnation.0 == host.life);
            let is_slow = node.is_some_and(|node| node.is_slow);
            if is_there && !is_slow && said_nothing > QUIET_MAX + self.network_tail() {
                return Err(format!("I-6: {} says nothing and is not taken for slow", host.name));
            }
        }
        Ok(())
    }

    /// An attempt is placed on a slow worker only if no other has room for it.
    pub fn check_slow_is_last(&self, at: usize, spec: &AttemptSpec, host: usize) -> Result<(), String> {
        let Some(process) = &self.machines[at].process else {
            return Ok(());
        };
        let node = || process.core.nodes();
        let is_slow = node().any(|node| *node.node == self.hosts[host].name && node.is_slow);
        let is_taken_over = spec.attempt.epoch != process.epoch;
        if spec.is_pipelined || !is_slow || is_taken_over {
            return Ok(());
        }
        // Workers on which attempts of the query failed are avoided, and room may be kept for larger ones.
        let view = process.core.query(&spec.attempt.task.query);
        let is_plain =
            view.is_some_and(|view| view.failed_attempts() == 0) && process.core.queued_tasks() == 0;
        let has_room = |node: scheduler::NodeView<'_>| {
            let free = node.capacity.memory_bytes.saturating_sub(node.leased_bytes);
            let is_fast = node.state == Some(NodeState::Active) && !node.is_slow;
            is_fast && node.slots_used < node.capacity.slots && free >= spec.memory_bytes
        };
        match is_plain.then(|| node().find(|node| has_room(*node))).flatten() {
            Some(other) => Err(format!(
                "I-6: {} is placed on {}, which is slow, and {} has room",
                spec.attempt, self.hosts[host].name, other.node
            )),
            None => Ok(()),
        }
    }
}
