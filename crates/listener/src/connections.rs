//! Which connections are open, and which of them has been idle for the longest time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a connection that was told to close may take before it is not waited for any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Connections {
    count_max: usize,
    state: Mutex<State>,
    closed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<u64, Connection>,
    /// Those without a request under way: those that never had one first, and then by when they came to be idle.
    idle: BTreeSet<Idle>,
    /// How many were told to close and have not.
    closing: usize,
    /// Grows with everything that happens.
    clock: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    has_served: bool,
    since: u64,
    id: u64,
}

#[derive(Debug)]
struct Connection {
    requests: usize,
    /// None while it has requests under way, or was told to close.
    idle: Option<Idle>,
    close: CancellationToken,
}

impl Connections {
    /// So many connections may be open. At least one.
    pub(crate) fn new(count_max: usize) -> Arc<Self> {
        Arc::new(Connections { count_max: count_max.max(1), state: Mutex::default(), closed: Notify::new() })
    }

    /// Makes room for one more connection. False if all have requests under way.
    pub(crate) async fn make_room(&self) -> bool {
        loop {
            // From now on none is missed.
            let closed = self.closed.notified();
            {
                let mut state = self.state();
                if state.open.len() < self.count_max {
                    return true;
                }
                if state.open.len() - state.closing >= self.count_max && !state.close_idle() {
                    return false;
                }
            }
            if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
                return false;
            }
        }
    }

    /// Closes the connection that has been idle for the longest time. Whether there is one.
    pub(crate) fn close_idle(&self) -> bool {
        self.state().close_idle()
    }

    /// A connection was accepted.
    pub(crate) fn open(self: &Arc<Self>) -> ConnectionHandle {
        let mut state = self.state();
        let id = state.tick();
        let close = CancellationToken::new();
        state.open.insert(id, Connection { requests: 0, idle: None, close });
        state.set_idle(id, false);
        ConnectionHandle { id, connections: Arc::clone(self) }
    }

    /// What tells a connection to close.
    pub(crate) fn close_token(&self, id: u64) -> CancellationToken {
        self.state().open.get(&id).map(|connection| connection.close.clone()).unwrap_or_default()
    }

    /// A connection is closed.
    pub(crate) fn remove(&self, id: u64) {
        let mut state = self.state();
        if let Some(connection) = state.open.remove(&id) {
            state.closing -= usize::from(connection.close.is_cancelled());
            if let Some(idle) = connection.idle {
                state.idle.remove(&idle);
            }
        }
        drop(state);
        self.closed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn close_idle(&mut self) -> bool {
        let Some(idle) = self.idle.pop_first() else {
            return false;
        };
        if let Some(connection) = self.open.get_mut(&idle.id) {
            connection.idle = None;
            connection.close.cancel();
            self.closing += 1;
        }
        true
    }

    fn set_idle(&mut self, id: u64, has_served: bool) {
        let since = self.tick();
        if let Some(connection) = self.open.get_mut(&id) {
            let idle = Idle { has_served, since, id };
            connection.idle = Some(idle);
            self.idle.insert(idle);
        }
    }

    /// A request begins. Whether the connection may serve it, or was told to close.
    fn begin(&mut self, id: u64) -> bool {
        let Some(connection) = self.open.get_mut(&id).filter(|it| !it.close.is_cancelled()) else {
            return false;
        };
        connection.requests += 1;
        if let Some(idle) = connection.idle.take() {
            self.idle.remove(&idle);
        }
        true
    }

    fn end(&mut self, id: u64) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.requests -= 1;
            if connection.requests == 0 {
                self.set_idle(id, true);
            }
        }
    }
}

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub struct ConnectionHandle {
    pub(crate) id: u64,
    pub(crate) connections: Arc<Connections>,
}

impl ConnectionHandle {
    /// A request is under way until this is dropped. None if the connection was told to close.
    pub(crate) fn begin(&self) -> Option<Request> {
        let begun = self.connections.state().begin(self.id);
        begun.then(|| Request { connection: self.clone() })
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Request {
    connection: ConnectionHandle,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.connection.connections.state().end(self.connection.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closing(connection: &ConnectionHandle) -> bool {
        connection.connections.close_token(connection.id).is_cancelled()
    }

    #[test]
    fn those_that_never_had_a_request_go_first_and_then_those_that_idle_for_longest() {
        let connections = Connections::new(4);
        let [first, second, silent, busy] = [(); 4].map(|()| connections.open());
        drop(second.begin());
        drop(first.begin());
        let request = busy.begin();
        let closing = || [&silent, &second, &first, &busy].map(is_closing);
        let expected = [[true, false, false, false], [true, true, false, false], [true, true, true, false]];
        for expected in expected {
            assert!(connections.close_idle());
            assert_eq!(closing(), expected);
        }
        assert!(!connections.close_idle(), "one has a request under way");
        drop(request);
        assert!(connections.close_idle());
    }

    #[test]
    fn connection_that_was_told_to_close_takes_no_request() {
        let connections = Connections::new(1);
        let connection = connections.open();
        assert!(connections.close_idle());
        assert!(connection.begin().is_none());
    }

    #[test]
    fn requests_side_by_side_on_one_connection_all_count() {
        let connections = Connections::new(1);
        let connection = connections.open();
        let (one, other) = (connection.begin(), connection.begin());
        drop(one);
        assert!(!connections.close_idle());
        drop(other);
        assert!(connections.close_idle());
    }

    #[tokio::test]
    async fn there_is_room_when_an_idle_one_has_closed() {
        let connections = Connections::new(1);
        let connection = connections.open();
        let closes = async {
            connections.close_token(connection.id).cancelled().await;
            connections.remove(connection.id);
        };
        let (has_room, ()) = tokio::join!(connections.make_room(), closes);
        assert!(has_room);
        let next = connections.open();
        let _request = next.begin();
        assert!(!connections.make_room().await);
    }
}
