//! Where connections go: to the server that is ready, as a Kubernetes service sends them.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often it is looked which server is ready, and how long it may take to say so.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where connections go. Those that are open stay where they are when it changes.
#[derive(Debug)]
pub struct Route {
    target: watch::Receiver<SocketAddr>,
    following: Option<JoinHandle<()>>,
}

impl Route {
    /// Always to the same server.
    pub fn fixed(target: SocketAddr) -> Self {
        // A sender that is gone changes nothing any more.
        Route { target: watch::channel(target).1, following: None }
    }

    /// To the first of these coordinators that is ready, and on to another one when it is not ready any more.
    pub fn to_ready(coordinators: Vec<SocketAddr>) -> Self {
        let (target, watched) = watch::channel(coordinators[0]);
        let following = tokio::spawn(async move {
            let client = reqwest::Client::new();
            loop {
                let current = *target.borrow();
                if !is_ready(&client, current).await {
                    for other in coordinators.iter().filter(|other| **other != current) {
                        if is_ready(&client, *other).await {
                            target.send_replace(*other);
                            break;
                        }
                    }
                }
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
        });
        Route { target: watched, following: Some(following) }
    }

    /// The server that new connections go to.
    pub fn target(&self) -> SocketAddr {
        *self.target.borrow()
    }

    /// Follows it.
    pub(super) fn watch(&self) -> watch::Receiver<SocketAddr> {
        self.target.clone()
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if let Some(following) = &self.following {
            following.abort();
        }
    }
}

/// Whether a coordinator serves. One that stands by, or has just started, says that it does not.
async fn is_ready(client: &reqwest::Client, coordinator: SocketAddr) -> bool {
    let asked = client.get(format!("http://{coordinator}/v1/info")).timeout(PROBE_TIMEOUT).send().await;
    let Ok(response) = asked.and_then(reqwest::Response::error_for_status) else {
        return false;
    };
    matches!(response.json::<Value>().await, Ok(info) if info["starting"] == Value::Bool(false))
}
