//! `steadfast drill`: workers are killed in the middle of a query, and the answer must still be right.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::drill_report::{Attempt, DrillReport, Kill};
use super::local::{Place, cluster_options};
use crate::Failure;
use crate::cli::DrillArguments;
use crate::client::{Client, QueryResult};
use crate::cluster::{CatalogOptions, LocalCluster};

/// How often it is looked whether a worker can be killed in the middle of its work.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A join of the four largest tables but one and an aggregation over all of lineitem.
const DEFAULT_QUERY: &str = "\
SELECT n.name AS nation, c.mktsegment, l.shipmode,
       count(*) AS lines, sum(l.quantity) AS quantity, sum(l.extendedprice * (1 - l.discount)) AS revenue
FROM lineitem l
JOIN orders o ON l.orderkey = o.orderkey
JOIN customer c ON o.custkey = c.custkey
JOIN nation n ON c.nationkey = n.nationkey
GROUP BY n.name, c.mktsegment, l.shipmode
ORDER BY n.name, c.mktsegment, l.shipmode";

/// Runs the drill.
pub async fn drill(arguments: DrillArguments) -> Result<ExitCode, Failure> {
    let say = |text: &str| {
        if !arguments.json {
            println!("{text}");
        }
    };
    let place = Place::of(&arguments.cluster)?;
    // Sums of decimals do not depend on the order of rows, so that equal answers are equal to the letter.
    let tpch = CatalogOptions::new("tpch", "tpch").with("tpch.double-type-mapping", "DECIMAL");
    let options = cluster_options(&arguments.cluster, &place).with_catalog(tpch);
    let workers = options.workers;
    say(&format!("Starting a coordinator and {workers} workers under {} …", place.path().display()));
    let mut cluster = LocalCluster::start(options).await?;
    let text = arguments.query.as_deref().unwrap_or(DEFAULT_QUERY);
    let client = client(&cluster, arguments.scale);

    say("Running the query undisturbed …");
    let started = Instant::now();
    let undisturbed = client.clone().query(text).await?;
    let undisturbed_wall = started.elapsed();

    say(&format!(
        "{} rows in {:.2} s. Running it again, with SIGKILL for {} …",
        undisturbed.rows.len(),
        undisturbed_wall.as_secs_f64(),
        if arguments.kills == 1 { "one worker".to_string() } else { format!("{} workers", arguments.kills) }
    ));
    let started = Instant::now();
    let (disturbed, kills) = run_and_kill(&mut cluster, &client, text, arguments.kills).await?;
    let wall = started.elapsed();
    let document = client.document(&format!("/v1/query/{}", disturbed.id)).await?;
    let report = DrillReport::new(
        undisturbed.rows == disturbed.rows,
        &kills,
        &attempts(&document),
        wall,
        undisturbed_wall,
    );
    cluster.stop().await?;
    match arguments.json {
        true => println!("{}", report.json()),
        false => print!("{}", report.text()),
    }
    let landed = kills.len() as u32 == arguments.kills;
    if !landed {
        eprintln!("steadfast: the query ended before all kills landed; try a larger --scale");
    }
    Ok(if report.is_good() && landed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn client(cluster: &LocalCluster, scale: f64) -> Client {
    let mut client = cluster.client();
    client.session.catalog = Some("tpch".into());
    client.session.schema = Some(format!("sf{scale}"));
    client
}

/// Runs a query, and kills workers while they run its tasks. Says which ones it killed, and when.
async fn run_and_kill(
    cluster: &mut LocalCluster,
    client: &Client,
    text: &str,
    count: u32,
) -> Result<(QueryResult, Vec<Kill>), Failure> {
    let (tell_id, id) = tokio::sync::oneshot::channel();
    let mut querying = client.clone();
    let text = text.to_string();
    let mut running = tokio::spawn(async move {
        let mut result = QueryResult::default();
        let mut statement = querying.start(&text).await?;
        let mut tell_id = Some(tell_id);
        while let Some(page) = statement.next().await? {
            if let Some(tell_id) = tell_id.take() {
                // Whoever does not kill needs no id.
                let _ = tell_id.send(page.id.clone());
            }
            result.id = page.id;
            result.rows.extend(page.rows);
        }
        Ok::<_, crate::client::ClientError>(result)
    });
    let mut kills = Vec::new();
    let id = id.await?;
    while (kills.len() as u32) < count && !running.is_finished() {
        let share = f64::from(kills.len() as u32 + 1) / f64::from(count + 2);
        let document = client.document(&format!("/v1/query/{id}")).await?;
        let Some(worker) = victim(cluster, &document, 100.0 * share) else {
            tokio::time::sleep(LOOK_INTERVAL).await;
            continue;
        };
        kills.push(Kill { node: cluster.worker_node_id(worker), at_unix_millis: unix_millis() });
        cluster.kill_worker(worker).await?;
        cluster.restart_worker(worker).await?;
    }
    Ok(((&mut running).await??, kills))
}

/// A worker that runs tasks of the query, once so many percent of it are done.
fn victim(cluster: &LocalCluster, document: &Value, percent_min: f64) -> Option<usize> {
    let done = document["queryStats"]["progressPercentage"].as_f64()?;
    if done < percent_min {
        return None;
    }
    let attempts = attempts(document);
    (0..cluster.options().workers)
        .map(|worker| {
            let node = cluster.worker_node_id(worker);
            (attempts.iter().filter(|attempt| attempt.is_running_on(&node)).count(), worker)
        })
        .filter(|(running, _)| *running > 0)
        .max()
        .map(|(_, worker)| worker)
}

fn attempts(document: &Value) -> Vec<Attempt> {
    let listed = document["attempts"].as_array().map_or(&[][..], Vec::as_slice);
    listed.iter().filter_map(Attempt::of).collect()
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
