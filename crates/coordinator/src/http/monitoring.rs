//! `/metrics`: the numbers of the coordinator and of its cluster.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::{Floors, Page, table};
use protocol::client::node_state;
use scheduler::NodeState;

use super::{HttpState, Refusal};
use crate::dispatch::{AttemptCounts, DispatchState};

/// The resource.
pub fn routes() -> Router<HttpState> {
    let floors = Arc::new(Floors::default());
    Router::new().route(
        "/metrics",
        get(async move |State(state): State<HttpState>| metrics_page(&state, &floors).await),
    )
}

async fn metrics_page(state: &HttpState, floors: &Floors) -> Result<Response, Refusal> {
    let services = &state.services;
    let cluster = services
        .dispatcher
        .inspect(Cluster::of)
        .await
        .map_err(|error| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let queries = services.queries.counts();
    let queries_in = |name: &str| {
        queries
            .iter()
            .find(|(state, _)| state.as_str().eq_ignore_ascii_case(name))
            .map_or(0, |(_, count)| *count)
    };
    let AttemptCounts { started, failed, lost, aborted } = cluster.attempts;

    let mut page = Page::new();
    page.add_each(&table::QUERIES, queries_in);
    page.add_each(&table::QUERIES_ENDED, queries_in);
    page.add_each(
        &table::TASKS,
        |of| if of == "queued" { cluster.queued_tasks } else { cluster.running_tasks },
    );
    page.add(&table::ATTEMPTS_STARTED, floors.raise(&table::ATTEMPTS_STARTED, "", started));
    page.add_each(&table::ATTEMPTS_ENDED, |of| {
        let count = match of {
            "failed" => failed,
            "lost" => lost,
            _ => aborted,
        };
        floors.raise(&table::ATTEMPTS_ENDED, of, count)
    });
    let workers_in = |name: &str| {
        let is_in = |state: &&NodeState| node_state::as_str(**state).eq_ignore_ascii_case(name);
        cluster.workers.iter().filter(is_in).count()
    };
    page.add_each(&table::WORKERS, workers_in);
    page.add(&table::ACTIVE_WORKERS, workers_in("active"));
    page.add(&table::SLOW_WORKERS, cluster.slow_workers);
    page.add(&table::WANTED_WORKERS, cluster.wanted_workers);
    page.add(&table::LEASED_MEMORY, cluster.leased_bytes);
    page.add(&table::MEMORY_CAPACITY, cluster.memory_bytes);
    page.add(&table::UPTIME, state.node.started.elapsed().as_secs_f64());
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page.finish()).into_response())
}

/// What the scheduler knows of the cluster.
struct Cluster {
    queued_tasks: u64,
    running_tasks: u64,
    attempts: AttemptCounts,
    workers: Vec<NodeState>,
    slow_workers: usize,
    wanted_workers: u32,
    leased_bytes: u64,
    memory_bytes: u64,
}

impl Cluster {
    fn of(state: &DispatchState) -> Self {
        let core = state.core();
        let running =
            core.queries().flat_map(|query| query.stages()).map(|stage| u64::from(stage.counts.running));
        let present = || core.nodes().filter(|node| node.state.is_some());
        Cluster {
            queued_tasks: core.queued_tasks() as u64,
            running_tasks: running.sum(),
            attempts: state.attempt_counts(),
            workers: present().filter_map(|node| node.state).collect(),
            slow_workers: present()
                .filter(|node| node.is_slow && node.state == Some(NodeState::Active))
                .count(),
            wanted_workers: core.wanted_workers(),
            leased_bytes: present().map(|node| node.leased_bytes).sum(),
            memory_bytes: present().map(|node| node.capacity.memory_bytes).sum(),
        }
    }
}
