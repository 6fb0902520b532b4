//! In what order joins are put, where semi joins stand, and how rows come to the tasks.

use planner::{JoinDistribution, JoinReordering, PlannedFragment, PlannerOptions, explain};
use scheduler::Distribution;

use crate::harness::{logical, plan, with_partitions, without_broadcast};

/// Joins and tables of the optimised plan in the order in which it shows them.
async fn shape(sql: &str, options: &PlannerOptions) -> Vec<String> {
    let text = logical(sql, options).await.unwrap();
    let mut shape = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if let Some((join, _)) = line.split_once(" Join:") {
            shape.push(join.to_lowercase());
        } else if line.starts_with("Cross Join") {
            shape.push("cross".into());
        } else if let Some(scan) = line.strip_prefix("TableScan: ") {
            shape.push(scan.split(' ').next().unwrap().to_owned());
        }
    }
    shape
}

async fn assert_shape(sql: &str, expected: &[&str]) {
    assert_eq!(shape(sql, &with_partitions(4)).await, expected, "{sql}");
}

const FEW_ORDERS: &str = "select l_orderkey from lineitem group by l_orderkey having sum(l_quantity) > 300";

#[tokio::test]
async fn a_semi_join_stands_below_inner_joins_on_the_side_that_has_its_keys() {
    let sql = format!(
        "select c_name, l_quantity from customer, orders, lineitem where o_orderkey in ({FEW_ORDERS})
         and c_custkey = o_custkey and o_orderkey = l_orderkey"
    );
    assert_shape(&sql, &["inner", "inner", "leftsemi", "orders", "lineitem", "customer", "lineitem"]).await;
}

#[tokio::test]
async fn a_semi_join_stands_on_the_side_whose_keys_equal_its_own() {
    // The larger table names the key; the smaller one has it too.
    let sql = format!(
        "select o_custkey, l_quantity from lineitem, orders where l_orderkey in ({FEW_ORDERS}) and o_orderkey = l_orderkey"
    );
    assert_shape(&sql, &["inner", "leftsemi", "orders", "lineitem", "lineitem"]).await;
}

#[tokio::test]
async fn an_anti_join_stands_below_a_join_that_multiplies_rows() {
    let sql = "select c_name, l_quantity from customer, orders, lineitem where c_custkey = o_custkey
         and o_orderkey = l_orderkey and not exists (select 1 from nation where n_nationkey = c_nationkey
         and n_nationkey < 24)";
    assert_shape(sql, &["inner", "inner", "leftanti", "customer", "nation", "orders", "lineitem"]).await;
}

#[tokio::test]
async fn a_mark_join_and_its_condition_stand_below_inner_joins() {
    let sql = "select s_name, l_quantity from lineitem, supplier, nation where l_suppkey = s_suppkey
         and s_nationkey = n_nationkey
         and (n_regionkey in (select r_regionkey from region where r_name = 'ASIA') or n_name = 'PERU')";
    let shape = shape(sql, &with_partitions(4)).await;
    assert_eq!(shape, ["inner", "inner", "leftmark", "nation", "region", "supplier", "lineitem"]);
}

#[tokio::test]
async fn a_semi_join_that_compares_columns_of_two_tables_stands_above_both() {
    let sql =
        "select c_name from customer, orders where c_custkey = o_custkey and exists (select 1 from nation
         where n_nationkey = c_nationkey and n_regionkey < o_shippriority)";
    assert_eq!(shape(sql, &with_partitions(4)).await[0], "leftsemi");
}

#[tokio::test]
async fn not_in_with_nulls_is_a_plain_anti_join() {
    let sql = "select c_name, o_totalprice from customer, orders where c_custkey = o_custkey and
         nullif(c_nationkey, 3) not in (select nullif(n_nationkey, 4) from nation where n_regionkey = 2)";
    let text = logical(sql, &with_partitions(4)).await.unwrap();
    assert!(!text.contains("null_aware"), "{text}");
    let plan = plan(sql, &with_partitions(4)).await.unwrap();
    let in_one_task = |fragment: &&PlannedFragment| {
        let joins = !fragment.inputs.is_empty() && !fragment.scans.is_empty();
        joins && fragment.distribution == Distribution::Single
    };
    let joins_in_one_task = plan.fragments.iter().filter(in_one_task);
    assert_eq!(joins_in_one_task.count(), 0, "{}", planner::explain::distributed(&plan));
}

#[tokio::test]
async fn not_in_what_may_differ_the_second_time_stays_where_it_is() {
    let sql = "select c_name, o_totalprice from customer, orders where c_custkey = o_custkey and
         nullif(c_nationkey, 3) not in (select nullif(n_nationkey, 4) from nation limit 2)";
    let text = logical(sql, &with_partitions(4)).await.unwrap();
    assert!(text.contains("null_aware"), "{text}");
    assert_eq!(shape(sql, &with_partitions(4)).await[0], "leftanti");
}

#[tokio::test]
async fn a_semi_join_by_chance_stays_where_it_is() {
    let sql = format!(
        "select c_name, l_quantity from customer, orders, lineitem where o_orderkey + cast(random() as bigint)
         in ({FEW_ORDERS}) and c_custkey = o_custkey and o_orderkey = l_orderkey"
    );
    assert_eq!(shape(&sql, &with_partitions(4)).await[0], "leftsemi");
}

#[tokio::test]
async fn tables_in_any_order_are_joined_without_products() {
    // No two neighbours in the list have a condition of their own.
    let sql = "select count(*) from region, customer, supplier, nation
         where r_regionkey = n_regionkey and c_nationkey = n_nationkey and s_nationkey = n_nationkey";
    for strategy in [JoinReordering::None, JoinReordering::EliminateCrossJoins, JoinReordering::Automatic] {
        let options = PlannerOptions { join_reordering: strategy, ..with_partitions(4) };
        let shape = shape(sql, &options).await;
        assert_eq!(shape.iter().filter(|word| *word == "inner").count(), 3, "{shape:?}");
        assert!(!shape.contains(&"cross".to_owned()), "{shape:?}");
    }
}

#[tokio::test]
async fn tables_without_a_condition_are_joined_last() {
    let sql =
        "select count(*) from orders, region, lineitem where o_orderkey = l_orderkey and r_name = 'ASIA'";
    let shape = shape(sql, &with_partitions(4)).await;
    assert_eq!(shape.iter().filter(|word| *word == "cross").count(), 1, "{shape:?}");
    assert_eq!(shape[0], "cross", "{shape:?}");
}

#[tokio::test]
async fn the_most_selective_tables_come_first_unless_the_order_is_to_stay() {
    let sql = "select count(*) from lineitem, orders, customer, nation where l_orderkey = o_orderkey
         and o_custkey = c_custkey and c_nationkey = n_nationkey and n_name = 'PERU'";
    assert_shape(sql, &["inner", "inner", "inner", "nation", "customer", "orders", "lineitem"]).await;
    let options = PlannerOptions { join_reordering: JoinReordering::None, ..with_partitions(4) };
    let written = shape(sql, &options).await;
    assert_eq!(written, ["inner", "inner", "inner", "lineitem", "orders", "customer", "nation"]);
}

#[tokio::test]
async fn equalities_carry_over_where_that_is_better() {
    // Nothing compares parts with who supplies them but what was bought.
    let sql =
        "select count(*) from lineitem, partsupp, part where l_partkey = ps_partkey and l_partkey = p_partkey
         and p_size = 3 and p_brand = 'Brand#12'";
    let text = logical(sql, &with_partitions(4)).await.unwrap();
    assert!(text.contains("part.p_partkey = partsupp.ps_partkey"), "{text}");
}

#[tokio::test]
async fn groups_that_nobody_asks_for_are_not_computed() {
    let sql = "select count(*) from lineitem, part where p_partkey = l_partkey and p_brand = 'Brand#23'
         and p_container = 'MED BOX'
         and l_quantity < (select 0.2 * avg(l_quantity) from lineitem where l_partkey = p_partkey)";
    let text = logical(sql, &with_partitions(4)).await.unwrap();
    assert!(text.contains("LeftSemi Join: lineitem.l_partkey = __key_filter_1.p_partkey"), "{text}");
    // All parts: their keys would filter nothing.
    let all = sql.replace("p_brand = 'Brand#23'", "1 = 1").replace("p_container = 'MED BOX'", "2 = 2");
    let text = logical(&all, &with_partitions(4)).await.unwrap();
    assert!(!text.contains("__key_filter"), "{text}");
    // By chance others would be read the second time, so this condition is left out then.
    let by_chance = sql.replace("p_brand = 'Brand#23'", "p_size * random() < 5");
    let text = logical(&by_chance, &with_partitions(4)).await.unwrap();
    assert!(text.contains("__key_filter") && text.matches("random()").count() == 1, "{text}");
}

#[tokio::test]
async fn what_a_semi_join_compares_with_is_filtered_by_keys_before_it_is_spread() {
    let sql = "select o_orderpriority from orders where o_orderdate >= date '1993-07-01'
         and o_orderdate < date '1993-10-01'
         and exists (select 1 from lineitem where l_orderkey = o_orderkey and l_commitdate < l_receiptdate)";
    let filtered = "LeftSemi Join: __correlated_sq_1.l_orderkey = __key_filter_1.o_orderkey";
    let little = PlannerOptions { broadcast_bytes_max: 16 << 10, ..with_partitions(4) };
    let text = logical(sql, &little).await.unwrap();
    assert!(text.contains(filtered), "{text}");
    // What is sent to every task need not be filtered before.
    let text = logical(sql, &with_partitions(4)).await.unwrap();
    assert!(!text.contains("__key_filter"), "{text}");
}

#[tokio::test]
async fn the_smaller_side_is_built_and_sent_to_every_task_as_far_as_allowed() {
    let sql = "select o_totalprice, c_name from orders join customer on o_custkey = c_custkey";
    let text = async |options: PlannerOptions| explain::distributed(&plan(sql, &options).await.unwrap());
    let broadcast = "mode=CollectLeft, join_type=Inner, on=[(c_custkey@0, o_custkey@0)]";
    let spread = "mode=Partitioned, join_type=Inner, on=[(c_custkey@0, o_custkey@0)]";
    for (options, expected) in [
        (with_partitions(4), broadcast),
        (without_broadcast(4), spread),
        (PlannerOptions { join_distribution: JoinDistribution::Partitioned, ..with_partitions(4) }, spread),
        (
            PlannerOptions { join_distribution: JoinDistribution::Broadcast, ..without_broadcast(4) },
            broadcast,
        ),
    ] {
        let text = text(options).await;
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn what_tells_of_build_rows_is_never_sent_to_every_task() {
    let sql =
        "select c_name from customer left join orders on o_custkey = c_custkey where o_orderkey is null";
    for join_distribution in [JoinDistribution::Automatic, JoinDistribution::Broadcast] {
        let options = PlannerOptions { join_distribution, ..with_partitions(4) };
        let text = explain::distributed(&plan(sql, &options).await.unwrap());
        assert!(!text.contains("mode=CollectLeft, join_type=Left"), "{text}");
    }
}
