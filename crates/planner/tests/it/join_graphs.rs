//! Joins in a random graph over small tables with many NULLs give the same rows in whatever order they are put. The
//! statistics of the tables are made up, so that all kinds of orders look good.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use planner::{JoinDistribution, JoinReordering, Planner, PlannerOptions, explain};

use crate::harness::Random;
use crate::rows::{Row, assert_same, rows_of, sort};

const QUERY_COUNT: u64 = 400;
/// Tables of the pool; queries use some of them, under several names.
const TABLE_COUNT: usize = 5;

/// A table with statistics that need not be true.
#[derive(Debug)]
struct Measured {
    table: MemTable,
    statistics: Statistics,
}

#[async_trait]
impl TableProvider for Measured {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics.clone())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.scan(session, projection, filters, limit).await
    }
}

/// Rows of `a`, `b` (small numbers), `c` (a number of another type in every other table) and `s` (text).
fn table(number: usize, random: &mut Random) -> Arc<Measured> {
    let rows = 4 + random.below(16);
    let mut values = |end: usize| -> Vec<Option<i64>> {
        (0..rows).map(|_| (random.below(5) > 0).then(|| random.below(end) as i64)).collect()
    };
    let (a, b, c, s) = (values(5), values(4), values(3), values(3));
    let c: ArrayRef = if number.is_multiple_of(2) {
        Arc::new(Int64Array::from(c))
    } else {
        Arc::new(c.into_iter().map(|value| value.map(|value| value as i32)).collect::<Int32Array>())
    };
    let s: StringArray = s.into_iter().map(|value| value.map(|value| format!("s{value}"))).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("a", Arc::new(Int64Array::from(a))),
        ("b", Arc::new(Int64Array::from(b))),
        ("c", c),
        ("s", Arc::new(s)),
    ];
    // Nullable, whether there are NULLs or not.
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let claimed = 10_usize.pow(random.below(7) as u32);
    let column = |random: &mut Random| ColumnStatistics {
        distinct_count: match random.below(3) {
            0 => Precision::Absent,
            _ => Precision::Inexact(1 + random.below(claimed)),
        },
        ..ColumnStatistics::new_unknown()
    };
    let statistics = Statistics {
        num_rows: Precision::Inexact(claimed),
        total_byte_size: Precision::Absent,
        column_statistics: (0..4).map(|_| column(random)).collect(),
    };
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    Arc::new(Measured { table, statistics })
}

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len())]
}

/// A query, clause by clause.
struct Query<'a> {
    random: &'a mut Random,
    from: Vec<String>,
    conditions: Vec<String>,
    names: Vec<String>,
}

impl Query<'_> {
    fn pool_table(&mut self) -> String {
        format!("p{}", self.random.below(TABLE_COUNT))
    }

    fn name(&mut self) -> String {
        self.names[self.random.below(self.names.len())].clone()
    }

    fn key(&mut self) -> &'static str {
        pick(self.random, &["a", "a", "a", "b", "b", "c", "s"])
    }

    /// A relation that is joined to one of those before it.
    fn relation(&mut self) {
        let name = format!("t{}", self.names.len());
        let table = self.pool_table();
        let rows = match self.random.below(8) {
            0 => format!(
                "(select a, max(b) as b, min(c) as c, max(s) as s from {table} group by a {}) {name}",
                pick(self.random, &["", "having count(*) > 1", "having sum(b) > 2"])
            ),
            1 => format!("(select a, b, c, s from {table} where b <> 2) {name}"),
            _ => format!("{table} {name}"),
        };
        if self.names.is_empty() {
            self.from.push(rows);
        } else if self.random.below(6) == 0 {
            let (other, key) = (self.name(), self.key());
            let kind = pick(self.random, &["left join", "join", "right join", "full join"]);
            // The other side must be in the same item of the list: joins bind closer than commas.
            let last = self.from.pop().unwrap();
            let visible = last.split_whitespace().any(|word| word == other);
            let on = if visible { format!("{other}.{key} = {name}.{key}") } else { format!("{name}.b > 1") };
            let kind = if visible || kind != "full join" { kind } else { "left join" };
            self.from.push(format!("{last} {kind} {rows} on {on}"));
        } else {
            let (other, key) = (self.name(), self.key());
            self.conditions.push(format!("{other}.{key} = {name}.{key}"));
            if self.random.below(4) == 0 {
                let (other, key) = (self.name(), self.key());
                self.conditions.push(format!("{name}.{key} = {other}.{key}"));
            }
            self.from.push(rows);
        }
        self.names.push(name);
    }

    fn condition(&mut self) {
        let (one, other, table) = (self.name(), self.name(), self.pool_table());
        let (key, second) = (self.key(), self.key());
        let filter = pick(self.random, &["", " and q.b > 1", " and q.s = 's1'", " and q.c is not null"]);
        let unequal = format!("q.b <> {other}.b");
        let condition = match self.random.below(14) {
            0 => format!("{one}.b > {}", self.random.below(3)),
            1 => format!("{one}.b < {other}.a"),
            2 => format!("({one}.a = 1 or {other}.b = 2)"),
            3 => format!("{one}.{key} in (select q.{key} from {table} q where 1 = 1{filter})"),
            4 => format!("exists (select 1 from {table} q where q.{key} = {one}.{key}{filter})"),
            5 => {
                format!("exists (select 1 from {table} q where q.{key} = {one}.{key} and {unequal}{filter})")
            }
            6 => format!("not exists (select 1 from {table} q where q.{key} = {one}.{key}{filter})"),
            7 => format!("not exists (select 1 from {table} q where q.{key} = {one}.{key} and {unequal})"),
            8 => format!(
                "{one}.{key} not in (select q.{key} from {table} q where q.{key} is not null{filter})"
            ),
            9 => format!(
                "({one}.{key} in (select q.{key} from {table} q where q.b > 0{filter}) or {other}.b = 2)"
            ),
            10 => format!("{one}.b <= (select max(q.b) from {table} q where q.a = {one}.a{filter})"),
            11 => format!(
                "{one}.b = (select min(q.b) from {table} q where q.{key} = {one}.{key} and q.{second} = {one}.{second})"
            ),
            12 => format!("{one}.a in (select q.a from {table} q group by q.a having sum(q.b) > 2)"),
            _ => format!("{one}.a + {other}.b = {}.a", self.name()),
        };
        self.conditions.push(condition);
    }

    fn sql(&self) -> String {
        let columns: Vec<String> = self
            .names
            .iter()
            .map(|name| format!("{name}.a as {name}a, {name}.b as {name}b, {name}.s as {name}s"))
            .collect();
        let from = self.from.join(", ");
        let conditions = match self.conditions.is_empty() {
            true => String::new(),
            false => format!(" where {}", self.conditions.join(" and ")),
        };
        format!("select {} from {from}{conditions}", columns.join(", "))
    }
}

fn random_query(random: &mut Random) -> String {
    let relations = 1 + random.below(5);
    let conditions = random.below(4);
    let mut query = Query { random, from: Vec::new(), conditions: Vec::new(), names: Vec::new() };
    for _ in 0..relations {
        query.relation();
    }
    for _ in 0..conditions {
        query.condition();
    }
    query.sql()
}

type Pool = Vec<Arc<Measured>>;

fn sorted(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = rows_of(batches);
    sort(&mut rows);
    rows
}

/// The rows and the optimised logical plan.
async fn planned(sql: &str, pool: &Pool, options: &PlannerOptions) -> (Vec<Row>, String) {
    let planner = Planner::new(options);
    let state = planner.session_state();
    let context = SessionContext::new_with_state(state.clone());
    register(&context, pool);
    let logical = Box::pin(context.state().create_logical_plan(sql)).await.unwrap();
    let physical = planner.physical_plan(&logical).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = collect(physical, context.task_ctx()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    (sorted(&rows), explain::logical(&planner.optimize(&logical).unwrap()))
}

fn register(context: &SessionContext, pool: &Pool) {
    let catalog = Arc::new(datafusion::catalog::MemoryCatalogProvider::new());
    let schema = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
    datafusion::catalog::CatalogProvider::register_schema(catalog.as_ref(), "public", schema).unwrap();
    context.register_catalog("datafusion", catalog);
    for (number, table) in pool.iter().enumerate() {
        context.register_table(format!("p{number}"), Arc::clone(table) as _).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_in_any_order_give_the_same_rows() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..QUERY_COUNT {
        let mut random = Random(seed);
        let pool: Pool = (0..TABLE_COUNT).map(|number| table(number, &mut random)).collect();
        let sql = random_query(&mut random);
        let oracle = SessionContext::new();
        register(&oracle, &pool);
        let expected = match oracle.sql(&sql).await {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        let Ok(expected) = expected else {
            // Some subqueries cannot be planned by DataFusion at all.
            *seen.entry("refused").or_default() += 1;
            continue;
        };
        let expected = sorted(&expected);
        let broadcast_bytes_max = [0, 1 << 10, 1 << 30][random.below(3)];
        let join_distribution = [JoinDistribution::Automatic, JoinDistribution::Broadcast][random.below(2)];
        let on = PlannerOptions {
            partitions: 3,
            broadcast_bytes_max,
            join_distribution,
            ..PlannerOptions::default()
        };
        let off = PlannerOptions { join_reordering: JoinReordering::None, ..on.clone() };
        let (written, written_plan) = Box::pin(planned(&sql, &pool, &off)).await;
        let (reordered, plan) = Box::pin(planned(&sql, &pool, &on)).await;
        assert_same(&format!("seed {seed} as written: {sql}"), &written, &expected);
        assert_same(&format!("seed {seed} reordered: {sql}\n{plan}"), &reordered, &expected);
        let mut count = |what, is_so: bool| *seen.entry(what).or_default() += u64::from(is_so);
        count("checked", true);
        count("with rows", !expected.is_empty());
        count("reordered", plan != written_plan);
        count("with semi join", plan != written_plan && plan.contains("LeftSemi"));
        count("with anti join", plan != written_plan && plan.contains("LeftAnti"));
        count("with mark join", plan != written_plan && plan.contains("LeftMark"));
        count("with key filter", plan.contains("__key_filter"));
    }
    eprintln!("{seen:?}");
    for (what, least) in [
        ("checked", 380),
        ("with rows", 180),
        ("reordered", 120),
        ("with semi join", 60),
        ("with anti join", 20),
        ("with mark join", 10),
        ("with key filter", 15),
    ] {
        assert!(seen.get(what).is_some_and(|count| *count >= least), "too few {what}: {seen:?}");
    }
}
