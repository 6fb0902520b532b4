//! What is written twice in a statement is computed once.

use planner::{FragmentedPlan, PlannerOptions};

use crate::harness::{Random, plan, run, with_partitions};
use crate::oracle;
use crate::rows::{assert_same, rows_of, sort};

fn scans(plan: &FragmentedPlan) -> usize {
    plan.fragments.iter().map(|fragment| fragment.scans.len()).sum()
}

/// The number of scans with and without sharing; the rows are those of DataFusion both times.
async fn scans_of(sql: &str) -> (usize, usize) {
    let mut expected = rows_of(&oracle::answer(sql).await);
    sort(&mut expected);
    let mut counts = Vec::new();
    for share_fragments in [true, false] {
        let options = PlannerOptions { share_fragments, ..with_partitions(4) };
        let plan = plan(sql, &options).await.unwrap();
        for seed in 0..3 {
            let mut found = rows_of(&run(&plan, &mut Random(seed)).await.unwrap());
            sort(&mut found);
            assert_same(sql, &found, &expected);
        }
        counts.push(scans(&plan));
    }
    (counts[0], counts[1])
}

#[tokio::test]
async fn a_common_table_expression_is_computed_once() {
    let sql = "with spent as (select o_custkey as k, sum(o_totalprice) as s from orders group by o_custkey)
         select k, s from spent where s = (select max(s) from spent)";
    assert_eq!(scans_of(sql).await, (1, 2));
    let sql = "with spent as (select o_custkey as k, sum(o_totalprice) as s from orders group by o_custkey)
         select a.k, b.s from spent a join spent b on a.k = b.k where a.s > 1000000";
    assert_eq!(scans_of(sql).await, (1, 2));
}

#[tokio::test]
async fn branches_of_a_union_that_are_alike_give_their_rows_each() {
    assert_eq!(scans_of("select n_name from nation union all select n_name from nation").await, (2, 2));
    let sql = "select c_nationkey, count(*) from (select c_nationkey from customer union all
         select c_nationkey from customer union all select c_nationkey from customer) t group by c_nationkey";
    assert_eq!(scans_of(sql).await, (3, 3));
}

#[tokio::test]
async fn what_differs_in_a_condition_or_by_chance_is_computed_apart() {
    let sql =
        "select count(*) from (select o_custkey as k from orders where o_orderkey < 100 group by o_custkey) a
         join (select o_custkey as k from orders where o_orderkey < 200 group by o_custkey) b on a.k = b.k";
    assert_eq!(scans_of(sql).await, (2, 2));
    let sql = "with t as (select o_custkey as k, max(random()) as r from orders group by o_custkey)
         select count(*) from t a join t b on a.k = b.k where a.r <> b.r";
    let plan = plan(sql, &with_partitions(4)).await.unwrap();
    assert_eq!(scans(&plan), 2);
}
