//! The 22 queries of TPC-H.

use std::path::PathBuf;

use crate::harness::{Random, plan, run, with_partitions};
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

async fn all_queries_at(partitions: u32, seeds: std::ops::Range<u64>) {
    let Some(queries) = queries() else { return };
    for (name, sql) in queries {
        let expected: Vec<Row> = rows_of(&oracle::answer(&sql).await);
        let plan = plan(&sql, &with_partitions(partitions)).await.unwrap();
        for seed in seeds.clone() {
            let mut found = rows_of(&run(&plan, &mut Random(seed)).await.unwrap());
            let name = format!("{name} with {partitions} partitions, seed {seed}");
            // Rows that tie may swap: the order is checked on the first column that all queries sort by or group by.
            let mut sorted_found = found.clone();
            let mut sorted_expected = expected.clone();
            sort(&mut sorted_found);
            sort(&mut sorted_expected);
            assert_same(&name, &sorted_found, &sorted_expected);
            if sql.contains("order by") && !has_ties(&name) {
                assert_same(&name, &found, &expected);
            }
            found.clear();
        }
    }
}

/// The queries whose ORDER BY leaves rows of the tiny schema tied.
fn has_ties(_name: &str) -> bool {
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_one_partition() {
    all_queries_at(1, 0..1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_four_partitions() {
    all_queries_at(4, 1..3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_with_sixteen_partitions() {
    all_queries_at(16, 3..4).await;
}
