//! The states of a node as operators write and read them.

use scheduler::NodeState;

/// Trino's name of a state.
pub fn as_str(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "ACTIVE",
        NodeState::Draining => "DRAINING",
        NodeState::Drained => "DRAINED",
        NodeState::ShuttingDown => "SHUTTING_DOWN",
    }
}

/// The state of that name. None: Trino may have such a state, but no node can be told to be in it.
pub fn parse(name: &str) -> Option<NodeState> {
    let states = [NodeState::Active, NodeState::Draining, NodeState::Drained, NodeState::ShuttingDown];
    states.into_iter().find(|state| as_str(*state) == name)
}

/// Whether a worker in one state can be told to be in another. It becomes drained by itself only, and whoever shuts
/// down does not come back.
pub fn can_follow(from: NodeState, to: NodeState) -> bool {
    from == to
        || match to {
            NodeState::Active => matches!(from, NodeState::Draining | NodeState::Drained),
            NodeState::Draining => from == NodeState::Active,
            NodeState::Drained => false,
            NodeState::ShuttingDown => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["ACTIVE", "DRAINING", "DRAINED", "SHUTTING_DOWN"] {
            assert_eq!(parse(name).map(as_str), Some(name));
        }
        assert_eq!((parse("INACTIVE"), parse("active")), (None, None));
    }

    #[test]
    fn transitions_are_those_of_trino() {
        let allowed = |from: &str| -> Vec<&str> {
            let names = ["ACTIVE", "DRAINING", "DRAINED", "SHUTTING_DOWN"];
            let from = parse(from).unwrap();
            names.into_iter().filter(|to| can_follow(from, parse(to).unwrap())).collect()
        };
        assert_eq!(allowed("ACTIVE"), ["ACTIVE", "DRAINING", "SHUTTING_DOWN"]);
        assert_eq!(allowed("DRAINING"), ["ACTIVE", "DRAINING", "SHUTTING_DOWN"]);
        assert_eq!(allowed("DRAINED"), ["ACTIVE", "DRAINED", "SHUTTING_DOWN"]);
        assert_eq!(allowed("SHUTTING_DOWN"), ["SHUTTING_DOWN"]);
    }
}
