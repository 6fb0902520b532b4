//! Requests whose bodies come too slowly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::Refusal;

/// How long a body may take to come at least, however short it is.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// A longer one must come so fast, on the whole.
const BYTES_PER_SECOND_MIN: u64 = 32 << 10;

/// How fast a body must come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    patience: Duration,
    bytes_per_second_min: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { patience: BODY_PATIENCE, bytes_per_second_min: BYTES_PER_SECOND_MIN }
    }
}

impl Pace {
    /// How long a body may have taken of which so many bytes are there.
    fn allows(self, received_bytes: u64) -> Duration {
        let seconds = received_bytes as f64 / self.bytes_per_second_min.max(1) as f64;
        self.patience + Duration::from_secs_f64(seconds)
    }

    /// Answers 408 to a request whose body comes too slowly. To be used as middleware.
    pub async fn keep(self, request: Request, next: Next) -> Response {
        if request.body().is_end_stream() {
            return next.run(request).await;
        }
        let is_late = Arc::new(AtomicBool::new(false));
        let request =
            request.map(|body| Body::from_stream(paced(body.into_data_stream(), self, Arc::clone(&is_late))));
        let response = next.run(request).await;
        if !is_late.load(Ordering::Relaxed) {
            return response;
        }
        let text = "The body of the request came too slowly".to_owned();
        ([(header::CONNECTION, "close")], Refusal(StatusCode::REQUEST_TIMEOUT, text)).into_response()
    }
}

/// The parts of a body until it is late.
fn paced(
    body: BodyDataStream,
    pace: Pace,
    is_late: Arc<AtomicBool>,
) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    let begun = Instant::now();
    stream::unfold(Some((body, 0_u64)), move |state| {
        let is_late = Arc::clone(&is_late);
        async move {
            let (mut body, received) = state?;
            match timeout_at(begun + pace.allows(received), body.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(bytes))) => {
                    let received = received + bytes.len() as u64;
                    Some((Ok(bytes), Some((body, received))))
                }
                Ok(Some(Err(error))) => Some((Err(error), None)),
                Err(elapsed) => {
                    is_late.store(true, Ordering::Relaxed);
                    Some((Err(axum::Error::new(elapsed)), None))
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use tonic::codegen::Service;

    use super::*;

    const PACE: Pace = Pace { patience: Duration::from_millis(500), bytes_per_second_min: 1_000 };

    /// Sends a body of so many parts of so many bytes, one every 20 ms. The status of the answer, and when it came.
    async fn answered(count: usize, bytes: usize) -> (StatusCode, Duration) {
        let routes = post(async |body: Bytes| body.len().to_string());
        let mut router = Router::new()
            .route("/", routes)
            .layer(from_fn(async |request: Request, next: Next| PACE.keep(request, next).await));
        let parts = stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, axum::Error>(Bytes::from(vec![b'a'; bytes]))
        });
        let request = Request::post("/").body(Body::from_stream(parts)).unwrap();
        let begun = Instant::now();
        let response = router.call(request).await.unwrap();
        (response.status(), begun.elapsed())
    }

    #[tokio::test]
    async fn a_body_may_be_slow_or_long_but_not_both() {
        assert_eq!(answered(0, 0).await.0, StatusCode::OK);
        assert_eq!(answered(5, 1).await.0, StatusCode::OK);
        let (status, elapsed) = answered(40, 1_000).await;
        assert_eq!(status, StatusCode::OK);
        assert!(elapsed > PACE.patience, "it took {elapsed:?}");
        let (status, elapsed) = answered(100_000, 1).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        assert!(elapsed >= PACE.patience && elapsed < 20 * PACE.patience, "it took {elapsed:?}");
    }

    #[test]
    fn a_body_of_which_nothing_came_has_its_patience() {
        assert_eq!(PACE.allows(0), PACE.patience);
        assert_eq!(PACE.allows(2_000), PACE.patience + Duration::from_secs(2));
    }
}
