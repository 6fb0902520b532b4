//! What the scenarios with coordinators share: when they strike, and what must hold afterwards.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::{Duration, Instant};

use rand::Rng;
use steadfast::Failure;

use super::victims::{committed_in, is_after, strike_after};
use crate::attempts::{Look, Task};
use crate::client::{PythonClient, Running};
use crate::report::Report;
use crate::scene::{ClientKind, Context, LOOK_INTERVAL, Scene};
use crate::workload::Query;

/// How long a query may be unknown after its coordinator has gone.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after its start a query may be struck in planning.
const PLANNING_DELAY_MILLIS_MAX: u64 = 20;
/// From which progress on a query is about to finish.
const FINISHING_PERCENT: f64 = 90.0;

/// Where a query stands when its coordinator is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Its client knows its id; it has no tasks yet.
    Planning,
    /// Its tasks run.
    Running,
    /// Its last tasks run, or have just ended.
    Finishing,
    /// Its client has some of its rows, and not all.
    Reading,
}

impl Moment {
    /// In turn.
    pub const ALL: [Moment; 4] = [Moment::Planning, Moment::Running, Moment::Finishing, Moment::Reading];

    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Planning => "planning",
            Moment::Running => "running",
            Moment::Finishing => "finishing",
            Moment::Reading => "client reading",
        }
    }
}

/// What was known of a query when its coordinator was struck.
pub struct Struck {
    /// The query.
    pub id: String,
    committed: BTreeSet<Task>,
    epoch: u64,
    at: Instant,
}

/// The queries of these scenarios: the last one has a result of many pages.
fn queries(context: &Context) -> Result<Vec<Query>, Failure> {
    let mut queries = context.queries()?;
    queries.push(Query::large());
    Ok(queries)
}

/// A round of a scenario: the coordinator that serves is struck at that moment of a query.
type Round =
    for<'a> fn(&'a mut Scene, Moment, usize) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// Plays so many rounds, under the Python client, each at the next moment.
pub async fn play(
    context: Context,
    has_standby: bool,
    rounds: usize,
    round: Round,
) -> Result<Report, Failure> {
    let python = match PythonClient::install() {
        Ok(python) => python,
        Err(problem) => {
            return Ok(context.skipped(format!("the Python client cannot be installed: {problem}")));
        }
    };
    let mut options = context.options().answering_at_once();
    options.has_standby = has_standby;
    let mut scene = Scene::start(&context, options, queries(&context)?).await?;
    scene.use_python(python);
    let played = play_rounds(&mut scene, context.rounds.unwrap_or(rounds), round).await;
    scene.finish(played).await
}

async fn play_rounds(scene: &mut Scene, rounds: usize, round: Round) -> Result<(), Failure> {
    for number in 0..rounds {
        round(scene, Moment::ALL[number % Moment::ALL.len()], number).await?;
    }
    Ok(())
}

/// Starts a query under the Python client, and waits for its moment. The query is chosen by the round. None for the
/// moment if the query ended before it came.
pub async fn start_until(
    scene: &mut Scene,
    moment: Moment,
    round: usize,
    misses: usize,
) -> Result<(usize, Running, Option<Look>), Failure> {
    let large = scene.queries.len() - 1;
    let query = if moment == Moment::Reading { large } else { round % large };
    let tasks = strike_after(scene, query, misses);
    let delay = match moment {
        Moment::Planning => {
            let latest = PLANNING_DELAY_MILLIS_MAX / (1 + misses as u64);
            Duration::from_millis(scene.random.random_range(0..=latest))
        }
        Moment::Running | Moment::Finishing | Moment::Reading => Duration::ZERO,
    };
    let running = scene.start_query(ClientKind::Python, query).await?;
    let Some(id) = running.id().await else {
        return Ok((query, running, None));
    };
    tokio::time::sleep(delay).await;
    if moment == Moment::Reading && !running.reached(|progress| progress.rows > 0).await {
        return Ok((query, running, None));
    }
    let has_come = |look: &Look| match moment {
        Moment::Planning => look.attempts.is_empty(),
        Moment::Running => {
            look.state == "RUNNING" && look.in_state("RUNNING").count() > 0 && is_after(look, tasks)
        }
        Moment::Finishing => look.state == "FINISHING" || look.percent >= FINISHING_PERCENT,
        Moment::Reading => true,
    };
    let look = match moment {
        // It comes at once or never.
        Moment::Planning => scene.look(&id).await.filter(|look| has_come(look)),
        _ => scene.watch(&running, &id, |look| has_come(look).then(|| look.clone())).await,
    };
    let look = look.filter(|_| !running.is_finished());
    Ok((query, running, look))
}

/// What is known of a query now that its coordinator does nothing any more.
pub fn struck(scene: &Scene, running: &Running, look: &Look) -> Struck {
    let id = running.progress().id.unwrap_or_default();
    let exchange = scene.cluster.options().exchange_directory();
    Struck {
        committed: committed_in(&exchange, &id),
        epoch: look.attempts.iter().map(|attempt| attempt.epoch).max().unwrap_or_default(),
        at: Instant::now(),
        id,
    }
}

/// Waits until a coordinator knows the query again, or its client has ended, and notes how long that took.
pub async fn wait_for_recovery(scene: &mut Scene, running: &Running, struck: &Struck) {
    while struck.at.elapsed() < RECOVERY_TIMEOUT && !running.is_finished() {
        if scene.look(&struck.id).await.is_some() {
            let millis = u64::try_from(struck.at.elapsed().as_millis()).unwrap_or(u64::MAX);
            scene.report.recovery_millis.push(millis);
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Judges the answer, and that nothing was made again whose output was in the store.
pub async fn judge(
    scene: &mut Scene,
    query: usize,
    running: Running,
    struck: &Struck,
) -> Result<(), Failure> {
    let look = scene.judge(query, running).await?;
    let again: Vec<String> = look
        .attempts
        .iter()
        .filter(|attempt| attempt.epoch > struck.epoch && struck.committed.contains(&attempt.task))
        .map(|attempt| format!("{attempt:?}"))
        .collect();
    if !again.is_empty() {
        let id = &struck.id;
        scene.report.problem(format!("{id}: what was in the store was made again: {}", again.join("; ")));
    }
    let kept = scene.report.figures.entry("committed_tasks_kept".into()).or_default();
    *kept = (kept.as_u64().unwrap_or_default() + struck.committed.len() as u64).into();
    Ok(())
}
