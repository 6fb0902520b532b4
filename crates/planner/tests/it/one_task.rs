//! Small queries are run by one task.

use planner::{PlannerOptions, SingleTask};

use crate::harness::{Random, plan, run, with_partitions};
use crate::oracle;
use crate::rows::{Cell, assert_same, rows_of, sort};

/// How many fragments a query is cut into. Its rows are those of DataFusion in any case.
async fn fragments(sql: &str, rows: u64) -> usize {
    let options = PlannerOptions { single_task: SingleTask::UpTo { rows }, ..with_partitions(4) };
    let plan = plan(sql, &options).await.unwrap();
    let mut expected = rows_of(&oracle::answer(sql).await);
    let mut found = rows_of(&run(&plan, &mut Random(1)).await.unwrap());
    sort(&mut expected);
    sort(&mut found);
    assert_same(sql, &found, &expected);
    plan.fragments.len()
}

#[tokio::test]
async fn tables_with_few_rows_are_read_by_one_task() {
    let sql = "select n_name, count(*) from customer join nation on c_nationkey = n_nationkey
        where c_acctbal > 0 group by n_name";
    assert_eq!(fragments(sql, 1_000_000).await, 1);
    assert!(fragments(sql, 100).await > 1, "there are more rows");
}

#[tokio::test]
async fn a_join_that_makes_many_rows_is_shared() {
    let sql = "select count(*) from customer a cross join customer b";
    let Cell::Text(count) = &rows_of(&oracle::answer("select count(*) from customer").await)[0][0] else {
        panic!("a count is no float");
    };
    let count: u64 = count.parse().unwrap();
    assert!(fragments(sql, 2 * count).await > 1);
}
