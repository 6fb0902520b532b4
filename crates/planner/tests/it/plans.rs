//! The shape of what is planned.

use planner::{FragmentedPlan, explain};
use scheduler::{Distribution, Edge};

use crate::harness::{plan, with_partitions, without_broadcast};

async fn planned(sql: &str) -> FragmentedPlan {
    plan(sql, &with_partitions(4)).await.unwrap()
}

fn edges(plan: &FragmentedPlan) -> Vec<Edge> {
    let inputs = plan.fragments.iter().flat_map(|fragment| &fragment.inputs);
    inputs.map(|input| input.shape.edge).collect()
}

#[tokio::test]
async fn a_small_build_side_is_sent_to_every_task() {
    let plan =
        planned("select l_orderkey, s_name from lineitem join supplier on l_suppkey = s_suppkey").await;
    assert_eq!(edges(&plan), [Edge::Broadcast]);
    assert_eq!(plan.root().distribution, Distribution::Source);
    assert_eq!(plan.fragments.len(), 2);
}

#[tokio::test]
async fn large_sides_are_spread_by_key() {
    let sql = "select l_orderkey, o_custkey from lineitem join orders on l_orderkey = o_orderkey";
    let plan = plan(sql, &without_broadcast(4)).await.unwrap();
    assert_eq!(edges(&plan), [Edge::Hash, Edge::Hash]);
    assert_eq!(plan.root().distribution, Distribution::Hash { partitions: 4 });
    let shape = plan.shape();
    assert_eq!(shape.stages.iter().map(|stage| stage.output_partitions).collect::<Vec<_>>(), [1, 4, 4]);
    assert_eq!(shape.stages.iter().map(|stage| stage.scans).collect::<Vec<_>>(), [0, 1, 1]);
}

#[tokio::test]
async fn a_scan_alone_is_one_stage() {
    let plan = planned("select n_name from nation where n_regionkey = 1").await;
    assert_eq!(plan.fragments.len(), 1);
    let scan = &plan.root().scans[0];
    assert_eq!((scan.catalog.as_str(), scan.table_name.as_str()), ("tpch", "tiny.nation"));
    assert!(scan.scan.predicate.is_some());
    assert_eq!(scan.scan.schema.fields().len(), 2);
}

#[tokio::test]
async fn explain_shows_fragments_in_trinos_manner() {
    let sql = "select c_nationkey, count(*) from customer group by c_nationkey order by 1 limit 3";
    let text = explain::distributed(&planned(sql).await);
    for expected in [
        "Fragment 0 [SINGLE]",
        "Fragment 1 [HASH]",
        "Fragment 2 [SOURCE]",
        "Output layout: [c_nationkey:bigint",
        "Output partitioning: HASH [c_nationkey@0]",
        "Output partitioning: SINGLE []",
        "RemoteMerge[sourceFragmentIds = [1]",
        "RemoteSource[sourceFragmentIds = [2], type = REPARTITION]",
        "SplitScanExec: table=tpch.tiny.customer, columns=[c_nationkey]",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    let plan = planned(sql).await;
    let outline = explain::outline(&plan);
    assert_eq!(explain::analyzed(&outline, &|_| Vec::new()), text);
    let analyzed = explain::analyzed(&outline, &|explain::PlanPart { stage, operator }| match operator {
        None => vec![format!("CPU of {stage}")],
        Some(operator) => vec![format!("rows of {stage}.{operator}")],
    });
    assert!(
        analyzed.contains("CPU of 2") && analyzed.contains("rows of 2.0") && analyzed.contains("rows of 0.0")
    );
}

#[tokio::test]
async fn hundred_way_join_is_planned_and_travels() {
    let tables: Vec<String> = (0..100).map(|n| format!("region r{n}")).collect();
    let equalities: Vec<String> =
        (1..100).map(|n| format!("r{}.r_regionkey = r{n}.r_regionkey", n - 1)).collect();
    let sql = format!("select count(*) from {} where {}", tables.join(", "), equalities.join(" and "));
    // Planning validates, and that encodes and decodes every fragment.
    let scans: usize = planned(&sql).await.fragments.iter().map(|fragment| fragment.scans.len()).sum();
    assert_eq!(scans, 100);
}
