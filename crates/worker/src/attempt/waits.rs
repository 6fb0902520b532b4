//! Whether an attempt waits for others.
//!
//! One that does is not stuck, however long it takes: its producers and consumers are watched themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::Stream;

/// In how many places an attempt waits for others.
#[derive(Debug, Default)]
pub(crate) struct Waits(AtomicUsize);

/// One place where an attempt waits, until this is dropped.
#[derive(Debug)]
struct Wait(Arc<Waits>);

impl Waits {
    /// Whether it waits anywhere.
    pub(crate) fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn begin(self: &Arc<Self>) -> Wait {
        self.0.fetch_add(1, Ordering::Relaxed);
        Wait(Arc::clone(self))
    }

    /// Waits for others to do something.
    pub(crate) async fn during<T>(self: &Arc<Self>, others: impl Future<Output = T>) -> T {
        let _wait = self.begin();
        others.await
    }

    /// The rows of others. The attempt waits for them from when it asked until they come.
    pub(crate) fn stream<S>(self: &Arc<Self>, inner: S) -> AwaitedStream<S> {
        AwaitedStream { inner, waits: Arc::clone(self), wait: None }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What others send.
#[derive(Debug)]
pub(crate) struct AwaitedStream<S> {
    inner: S,
    waits: Arc<Waits>,
    wait: Option<Wait>,
}

impl<S: Stream + Unpin> Stream for AwaitedStream<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let polled = Pin::new(&mut self.inner).poll_next(context);
        if polled.is_ready() {
            self.wait = None;
        } else if self.wait.is_none() {
            self.wait = Some(self.waits.begin());
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn who_asked_for_rows_waits_until_they_come() {
        let waits = Arc::new(Waits::default());
        let (sender, mut receiver) = mpsc::channel(1);
        let mut rows = waits.stream(stream::poll_fn(move |context| receiver.poll_recv(context)));
        assert!(!waits.is_any(), "nobody asked yet");
        assert!(rows.next().now_or_never().is_none() && rows.next().now_or_never().is_none());
        assert!(waits.is_any());
        sender.send(1).await.unwrap();
        assert_eq!(rows.next().await, Some(1));
        assert!(!waits.is_any());
        assert!(rows.next().now_or_never().is_none());
        drop(rows);
        assert!(!waits.is_any());
    }

    #[tokio::test]
    async fn who_is_interrupted_does_not_wait_any_more() {
        let waits = Arc::new(Waits::default());
        assert!(waits.during(std::future::pending::<()>()).now_or_never().is_none());
        assert!(!waits.is_any());
        assert!(waits.during(async { waits.is_any() }).await);
    }
}
