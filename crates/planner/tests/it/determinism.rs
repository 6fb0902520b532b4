//! Which fragments write the same rows when they are run again.

use planner::explain;

use crate::harness::{Random, plan, run_twice, without_broadcast};

/// A query, and its fragments from the root down: `=` writes the same rows again, `~` may write others.
#[rustfmt::skip]
const QUERIES: &[(&str, &str)] = &[
    ("select n_name from nation where n_regionkey = 1", "="),
    ("select o_orderkey + 1, upper(o_comment), case when o_custkey > 5 then 1 end from orders", "="),
    ("select l_orderkey, o_custkey from lineitem join orders on l_orderkey = o_orderkey", "==="),
    ("select s_name from supplier where s_suppkey in (select l_suppkey from lineitem)", "==="),
    ("select c_name, o_orderkey from customer left join orders on c_custkey = o_custkey", "==="),
    ("select o_custkey from orders union all select c_custkey from customer", "==="),
    ("select o_custkey from orders union select c_custkey from customer", "==="),
    ("select o_custkey, count(*), sum(o_totalprice), avg(o_totalprice), min(o_orderdate), max(o_comment) from orders group by o_custkey", "=="),
    ("select count(distinct o_custkey) from orders", "==="),
    ("select count(*) from orders", "=="),
    ("select bool_and(o_custkey > 0), bit_xor(o_custkey) from orders", "=="),
    ("select sum(cast(o_totalprice as double)) from orders", "~="),
    ("select o_custkey, sum(cast(o_totalprice as double)) from orders group by o_custkey", "~="),
    ("select o_custkey, avg(o_custkey) from orders group by o_custkey", "~="),
    ("select min(cast(o_totalprice as double)) from orders", "~="),
    ("select count(cast(o_totalprice as double)) from orders", "=="),
    ("select stddev(o_totalprice) from orders", "~="),
    ("select cast(o_totalprice as double), count(*) from orders group by 1", "=="),
    ("select l_orderkey, sum(cast(o_totalprice as double)) from lineitem join orders on l_orderkey = o_orderkey group by l_orderkey", "~=="),
    ("select l_suppkey, sum(l_quantity) from lineitem join orders on l_orderkey = o_orderkey group by l_suppkey", "===="),
    ("select array_agg(o_orderkey) from orders", "~="),
    ("select o_custkey, array_agg(o_orderkey order by o_orderkey) from orders group by o_custkey", "=="),
    ("select o_custkey, array_agg(o_orderkey order by o_orderdate) from orders group by o_custkey", "~~"),
    ("select o_custkey, string_agg(o_comment, ',' order by o_comment) from orders group by o_custkey", "=="),
    ("select first_value(o_orderkey order by o_orderdate) from orders", "~="),
    ("select any_value(o_orderkey) from orders", "~="),
    ("select approx_distinct(o_orderkey) from orders", "~="),
    ("select approx_percentile_cont(0.5) within group (order by o_totalprice) from orders", "~="),
    ("select median(o_custkey) from orders", "~="),
    ("select random() from orders", "~"),
    ("select o_orderkey from orders where random() < 0.5", "~"),
    ("select uuid(), o_orderkey from orders", "~"),
    ("select o_custkey, count(*) from (select o_custkey + cast(random() * 3 as bigint) as o_custkey from orders) group by o_custkey", "=~"),
    ("select o_orderkey, now(), current_date from orders", "="),
    ("select o_orderkey from orders limit 5", "~="),
    ("select o_orderkey from orders limit 0", "="),
    ("select o_orderkey from orders order by o_orderkey", "=="),
    ("select o_orderkey from orders order by o_orderkey limit 5", "=="),
    ("select o_orderkey, o_comment from orders order by o_orderkey limit 5", "~~"),
    ("select o_orderkey, o_comment from orders order by o_comment, o_orderkey limit 5", "=="),
    ("select o_custkey, count(*) from orders group by o_custkey order by o_custkey limit 5", "==="),
    ("select o_custkey, count(*) as n from orders group by o_custkey order by n desc limit 5", "~~="),
    ("select o_custkey, count(*) as n from orders group by o_custkey order by n desc, o_custkey limit 5", "==="),
    ("select o_custkey, o_orderstatus, count(*) as n from orders group by o_custkey, o_orderstatus order by n desc, o_custkey limit 5", "~~="),
    ("select distinct o_custkey from orders order by o_custkey limit 5", "==="),
    ("select distinct o_custkey from orders limit 5", "~~~"),
    ("select count(*) from (select o_orderkey from orders limit 5)", "=="),
    ("select sum(o_orderkey) from (select o_orderkey from orders limit 5)", "~="),
    ("select count(*) from orders limit 3", "=="),
    ("select o_orderkey from orders order by o_orderkey offset 3", "=="),
    ("select o_orderkey from orders offset 3", "~="),
    ("select c_name, n from customer join (select o_custkey, count(*) as n from orders group by o_custkey) on c_custkey = o_custkey order by c_name, n limit 3", "===="),
    ("select a.k, b.n from (select o_custkey as k from orders group by o_custkey) a join (select c_custkey as k, count(*) as n from customer group by c_custkey) b on a.k = b.k order by a.k limit 3", "===="),
    ("select o_custkey, row_number() over (partition by o_custkey order by o_orderdate) from orders", "=="),
    ("select o_orderkey, o_custkey, row_number() over (partition by o_custkey order by o_orderkey) from orders", "=="),
    ("select o_custkey, n, row_number() over (order by n, o_custkey) from (select o_custkey, count(*) as n from orders group by o_custkey)", "==="),
    ("select o_custkey, n, lag(n) over (order by n) from (select o_custkey, count(*) as n from orders group by o_custkey)", "~=="),
    ("select o_custkey, rank() over (partition by o_custkey order by o_orderdate), dense_rank() over (partition by o_custkey order by o_orderdate) from orders", "=="),
    ("select o_custkey, ntile(4) over (partition by o_custkey order by o_orderdate) from orders", "=="),
    ("select o_custkey, first_value(o_orderkey) over (partition by o_custkey order by o_orderdate) from orders", "~="),
    ("select o_custkey, sum(o_totalprice) over (partition by o_custkey) from orders", "=="),
    ("select o_custkey, sum(o_totalprice) over (partition by o_custkey order by o_orderdate) from orders", "=="),
    ("select o_custkey, sum(o_totalprice) over (partition by o_custkey order by o_orderdate rows between 1 preceding and current row) from orders", "~="),
    ("select o_custkey, sum(cast(o_totalprice as double)) over (partition by o_custkey) from orders", "~="),
    ("select o_custkey from orders where o_totalprice > (select avg(o_totalprice) from orders)", "==="),
    ("select o_custkey from orders where exists (select 1 from lineitem where l_orderkey = o_orderkey)", "==="),
    ("select n_name, (select count(*) from region) from nation", "=="),
    ("select o_custkey, o_orderstatus, count(*) from orders group by grouping sets ((o_custkey), (o_orderstatus), ()) order by 1, 2 limit 4", "~~="),
    ("select o_custkey, sum(distinct o_totalprice) from orders group by o_custkey", "==="),
    ("select * from (values (1, 'a'), (2, 'b')) as t(x, y)", "="),
    ("select x from (values (1.5e0), (2.5e0)) as t(x) limit 1", "="),
    ("select sum(x) from (values (1.5e0), (2.5e0)) as t(x)", "~"),
    ("select x, count(*) from (select sum(cast(o_totalprice as double)) as x from orders group by o_custkey) group by x", "=~="),
];

#[tokio::test]
async fn every_fragment_says_whether_it_writes_the_same_rows_again() {
    let mut wrong = Vec::new();
    for (sql, expected) in QUERIES {
        let plan = plan(sql, &without_broadcast(4)).await.unwrap();
        let mark = |determinate| if determinate { '=' } else { '~' };
        let found: String = plan.fragments.iter().map(|fragment| mark(fragment.determinate)).collect();
        let told: Vec<bool> = plan.shape().stages.iter().map(|stage| stage.determinate).collect();
        assert_eq!(told.into_iter().map(mark).collect::<String>(), found, "{sql}");
        if found != *expected {
            wrong.push(format!("{found} instead of {expected}: {sql}\n{}", explain::distributed(&plan)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn determinate_fragments_write_the_same_rows_again() {
    let mut others = 0;
    for (seed, (sql, _)) in (1..).zip(QUERIES) {
        let plan = plan(sql, &without_broadcast(4)).await.unwrap();
        for stage in run_twice(&plan, &mut Random(seed)).await.unwrap() {
            let promised = plan.fragments[stage.0 as usize].determinate;
            assert!(!promised, "fragment {stage} of {sql}\n{}", explain::distributed(&plan));
            others += 1;
        }
    }
    // The order in which rows come does show where it may.
    assert!(others >= 10, "{others}");
}

#[tokio::test]
async fn explain_marks_what_may_write_other_rows() {
    let sql = "select o_orderkey from orders limit 5";
    let text = explain::distributed(&plan(sql, &without_broadcast(4)).await.unwrap());
    assert!(text.contains("Fragment 0 [SINGLE] indeterminate\n"), "{text}");
    assert!(text.contains("Fragment 1 [SOURCE]\n"), "{text}");
}
