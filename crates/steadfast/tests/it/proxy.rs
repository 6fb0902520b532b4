//! A proxy before coordinators: one address behind which now this one serves and then that one.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to whoever it was told to. It ends when this is dropped.
pub struct Proxy {
    address: String,
    target: watch::Sender<Arc<str>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy on any free port, before the server at that address (host and port).
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let target = watch::Sender::new(Arc::from(target));
        let targets = target.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, targets.clone()));
            }
        });
        Proxy { address, target, accepting }
    }

    /// Where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on, connections go to that address. Those to the former one break.
    pub fn switch(&self, target: &str) {
        self.target.send_replace(Arc::from(target));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut stream: TcpStream, mut targets: watch::Receiver<Arc<str>>) {
    let target = Arc::clone(&targets.borrow_and_update());
    // A connection that cannot be made is one that breaks.
    let Ok(mut onwards) = TcpStream::connect(&*target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut stream, &mut onwards) => {}
        _ = targets.changed() => {}
    }
}
