//! What every scenario plays in: a cluster, queries whose undisturbed run is known, and a report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use steadfast::Failure;

use crate::attempts::Look;
use crate::checks;
use crate::client::{Outcome, PythonClient, Running, start_rust};
use crate::cluster::{Cluster, ClusterOptions, Footprint, NodeName};
use crate::report::Report;
use crate::workload::Query;

/// How often a fault is tried that comes too late to cost anything.
pub const TRY_COUNT_MAX: usize = 20;
/// How long to wait before looking again.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What a scenario is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The scenario.
    pub scenario: &'static str,
    /// From which its chances follow.
    pub seed: u64,
    /// How many rounds it has, if not as many as it wants.
    pub rounds: Option<usize>,
    /// The program of the nodes.
    pub program: PathBuf,
    /// An empty directory, which is removed afterwards.
    pub directory: PathBuf,
    /// Where the queries and answers of TPC-H are.
    pub tpch: PathBuf,
}

/// What the undisturbed cluster is like.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// How long each query takes.
    pub walls: BTreeMap<String, Duration>,
    /// How many tasks each query has.
    pub tasks: BTreeMap<String, usize>,
    /// What each process takes.
    pub footprints: BTreeMap<NodeName, Footprint>,
}

/// Under which client a query runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Our own.
    Rust,
    /// The one of PyPI.
    Python,
}

/// What every scenario plays in.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// The queries.
    pub queries: Vec<Query>,
    /// Chance.
    pub random: StdRng,
    /// What was found.
    pub report: Report,
    /// What the undisturbed cluster is like.
    pub baseline: Baseline,
    python: Option<PythonClient>,
    started: Instant,
}

impl Context {
    /// The cluster that most scenarios want.
    pub fn options(&self) -> ClusterOptions {
        ClusterOptions::new(self.program.clone(), self.directory.clone())
    }

    /// Q5, Q9, Q18 and Q21.
    pub fn queries(&self) -> Result<Vec<Query>, Failure> {
        Query::tpch(&self.tpch)
    }

    /// An empty report.
    pub fn report(&self) -> Report {
        Report { scenario: self.scenario.to_string(), seed: self.seed, ..Report::default() }
    }

    /// The report of a scenario that cannot be run here.
    pub fn skipped(&self, reason: impl Into<String>) -> Report {
        Report { skipped: Some(reason.into()), ..self.report() }
    }
}

impl Scene {
    /// Starts a cluster, and runs each query undisturbed.
    pub async fn start(
        context: &Context,
        options: ClusterOptions,
        queries: Vec<Query>,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let cluster = Cluster::start(options, context.seed).await?;
        let mut scene = Scene {
            cluster,
            queries,
            random: StdRng::seed_from_u64(context.seed),
            report: context.report(),
            baseline: Baseline::default(),
            python: None,
            started,
        };
        scene.measure().await?;
        scene.baseline.footprints = scene.cluster.footprints();
        Ok(scene)
    }

    /// From now on queries may run under the Python client, too.
    pub fn use_python(&mut self, client: PythonClient) {
        self.python = Some(client);
    }

    /// Measures how long each query takes undisturbed. The first time it does so with cold processes.
    pub async fn measure(&mut self) -> Result<(), Failure> {
        for at in 0..self.queries.len() {
            let (running, id) = self.start_known(at).await?;
            let outcome = running.outcome().await?;
            let look = self.look(&id).await.unwrap_or_default();
            let query = &mut self.queries[at];
            let rows = outcome.rows.map_err(|error| format!("undisturbed, {} fails: {error}", query.name))?;
            query.learn(&rows);
            if let Some(problem) = query.differs_from(&rows) {
                return Err(format!("undisturbed, {} is wrong: {problem}", query.name).into());
            }
            eprintln!("  {} undisturbed: {:.2} s", query.name, outcome.wall.as_secs_f64());
            self.baseline.walls.insert(query.name.clone(), outcome.wall);
            self.baseline.tasks.insert(query.name.clone(), look.in_state("FINISHED").count());
        }
        Ok(())
    }

    /// Starts a query under our own client, and waits until its id is known.
    pub async fn start_known(&self, query: usize) -> Result<(Running, String), Failure> {
        let running = self.start_query(ClientKind::Rust, query).await?;
        match running.id().await {
            Some(id) => Ok((running, id)),
            None => match running.outcome().await?.rows {
                Ok(_) => Err("a query ended without an id".into()),
                Err(error) => Err(format!("a query could not be started: {error}").into()),
            },
        }
    }

    /// Starts a query.
    pub async fn start_query(&self, client: ClientKind, query: usize) -> Result<Running, Failure> {
        let text = &self.queries[query].text;
        match (client, &self.python) {
            (ClientKind::Rust, _) => Ok(start_rust(self.cluster.client(), text)),
            (ClientKind::Python, Some(python)) => python.start(&self.cluster.address(), text).await,
            (ClientKind::Python, None) => Err("the Python client is not in use".into()),
        }
    }

    /// Looks at a query. Whoever asks a coordinator that has gone learns nothing.
    pub async fn look(&self, id: &str) -> Option<Look> {
        let document = self.cluster.document(&format!("/v1/query/{id}")).await.ok()?;
        Some(Look::of(&document))
    }

    /// Looks at a query that runs until `found` finds something. None if the query ends before.
    pub async fn watch<T>(
        &self,
        running: &Running,
        id: &str,
        mut found: impl FnMut(&Look) -> Option<T>,
    ) -> Option<T> {
        while !running.is_finished() {
            if let Some(something) = self.look(id).await.and_then(|look| found(&look)) {
                return Some(something);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        None
    }

    /// Waits for a query that was disturbed, judges its rows, and counts its attempts. What the coordinator tells of
    /// it at the end.
    pub async fn judge(&mut self, query: usize, running: Running) -> Result<Look, Failure> {
        let (look, _) = self.judge_timed(query, running).await?;
        Ok(look)
    }

    /// The same, with how long it took the client.
    pub async fn judge_timed(&mut self, query: usize, running: Running) -> Result<(Look, Duration), Failure> {
        let outcome = running.outcome().await?;
        let look = match &outcome.id {
            Some(id) => self.look(id).await.unwrap_or_default(),
            None => Look::default(),
        };
        self.judge_outcome(query, &outcome);
        self.report.count(&look);
        Ok((look, outcome.wall))
    }

    fn judge_outcome(&mut self, query: usize, outcome: &Outcome) {
        let query = &self.queries[query];
        let id = outcome.id.as_deref().unwrap_or("without an id");
        self.report.queries += 1;
        self.report.client_retries += outcome.retries;
        match &outcome.rows {
            Err(error) => {
                self.report.errors += 1;
                self.report.problem(format!("{} ({id}) fails: {error}", query.name));
            }
            Ok(rows) => {
                if let Some(problem) = query.differs_from(rows) {
                    self.report.wrong += 1;
                    self.report.problem(format!("{} ({id}) is wrong: {problem}", query.name));
                }
            }
        }
        if let Some(undisturbed) = self.baseline.walls.get(&query.name) {
            self.report.wall_ratios.push(outcome.wall.as_secs_f64() / undisturbed.as_secs_f64());
        }
    }

    /// Makes the last checks, ends the cluster, and gives the report, however the scenario has ended.
    pub async fn finish(mut self, played: Result<(), Failure>) -> Result<Report, Failure> {
        if let Err(error) = played {
            self.report.problem(format!("the scenario ended early: {error}"));
        }
        checks::check(&mut self).await;
        if self.report.faults.is_empty() {
            self.report.problem("no fault landed: nothing was shown");
        }
        self.report.wall = self.started.elapsed();
        self.cluster.stop().await?;
        Ok(self.report)
    }
}
