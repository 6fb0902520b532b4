//! The 22 queries of TPC-H.

use std::ops::Range;
use std::path::PathBuf;

use planner::{PlannerOptions, SingleTask};
use scheduler::Distribution;

use crate::harness::{Random, plan, run, with_partitions, without_broadcast};
use crate::rows::{assert_same, rows_of, sort};
use crate::{oracle, rows::Row};

fn queries() -> Option<Vec<(String, String)>> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("STEADFAST_SHARED_DIR").map_or(default, PathBuf::from);
    let folder = shared.join("tpch/queries");
    if !folder.is_dir() {
        eprintln!("SKIPPED: there are no TPC-H queries in {}", folder.display());
        return None;
    }
    let query = |number: u32| {
        let name = format!("q{number:02}");
        let text = std::fs::read_to_string(folder.join(format!("{name}.sql"))).unwrap();
        (name, text.trim().trim_end_matches(';').to_owned())
    };
    Some((1..=22).map(query).collect())
}

async fn all_queries(options: PlannerOptions, seeds: Range<u64>) {
    let Some(queries) = queries() else { return };
    for (name, sql) in queries {
        let mut expected: Vec<Row> = rows_of(&oracle::answer(&sql).await);
        let ordered = sql.contains("order by");
        if !ordered {
            sort(&mut expected);
        }
        let plan = plan(&sql, &options).await.unwrap();
        for seed in seeds.clone() {
            let mut found = rows_of(&run(&plan, &mut Random(seed)).await.unwrap());
            if !ordered {
                sort(&mut found);
            }
            let name = format!("{name} with {} partitions, seed {seed}", options.partitions);
            assert_same(&name, &found, &expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_one_task() {
    let Some(queries) = queries() else { return };
    let options = PlannerOptions { single_task: SingleTask::Always, ..with_partitions(4) };
    for (name, sql) in queries {
        // A scalar subquery is a fragment of its own.
        let plan = plan(&sql, &options).await.unwrap();
        let distributions: Vec<_> = plan.fragments.iter().map(|fragment| fragment.distribution).collect();
        assert!(distributions.iter().all(|it| *it == Distribution::Single), "{name}: {distributions:?}");
        assert!(plan.fragments.len() <= 2, "{name}: {distributions:?}");
    }
    all_queries(options, 0..1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_one_partition() {
    all_queries(with_partitions(1), 0..1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_broadcast_joins() {
    all_queries(with_partitions(4), 1..3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_four_partitions() {
    all_queries(without_broadcast(4), 3..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_sixteen_partitions() {
    all_queries(without_broadcast(16), 5..7).await;
}
