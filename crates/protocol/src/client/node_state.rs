//! The states of a node as operators write and read them.

use scheduler::NodeState;

/// Trino's name of a state.
pub fn as_str(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "ACTIVE",
        NodeState::ShuttingDown => "SHUTTING_DOWN",
    }
}
