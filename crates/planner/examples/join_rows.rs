//! How many rows flow through the joins of the TPC-H queries, and how much CPU time they take, in one process with
//! their tables in memory.
//!
//! `cargo run -p steadfast-planner --example join_rows -- <folder of qNN.sql> [schema] [query …]`. With `plan` in
//! front of the queries their plans are shown and not run; with `undistinct` no distinct counts are known, as with
//! Parquet; with `written` joins stay in the order in which they are written.

#![allow(clippy::unwrap_used, reason = "this is no part of the engine")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use base::StageId;
use connector::{Connector, Scan, Split, SplitOptions, TableHandle, TableMetadata, TableStatistics};
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use operators::{
    ConnectorTable, HashPartitioner, Sink, SplitScanExec, TaskInputs, TaskInputsExtension,
    config_from_options, decode_fragment, encode_fragment, task_context,
};
use planner::{FragmentedPlan, JoinReordering, PlannedFragment, Planner, PlannerOptions, explain};

/// Keeps what was read in memory, so that the second run of a query measures the query and not the making of rows.
#[derive(Debug)]
struct Kept {
    connector: Arc<dyn Connector>,
    batches: Arc<Mutex<HashMap<String, Vec<RecordBatch>>>>,
}

#[async_trait]
impl Connector for Kept {
    async fn schemas(&self) -> base::Result<Vec<String>> {
        self.connector.schemas().await
    }

    async fn tables(&self, schema: &str) -> base::Result<Vec<String>> {
        self.connector.tables(schema).await
    }

    async fn table(&self, schema: &str, table: &str) -> base::Result<Option<TableMetadata>> {
        self.connector.table(schema, table).await
    }

    async fn statistics(&self, table: &TableHandle) -> base::Result<TableStatistics> {
        self.connector.statistics(table).await
    }

    fn is_parallel(&self, table: &TableHandle) -> bool {
        self.connector.is_parallel(table)
    }

    async fn splits(
        &self,
        scan: &Scan,
        options: &SplitOptions,
    ) -> base::Result<BoxStream<'static, base::Result<Vec<Split>>>> {
        self.connector.splits(scan, options).await
    }

    fn open(
        &self,
        scan: &Scan,
        split: &Split,
        context: Arc<TaskContext>,
    ) -> base::Result<SendableRecordBatchStream> {
        let name = format!("{:?} {:?} {:?}", scan.table, scan.schema.fields(), split.payload);
        let kept = Arc::clone(&self.batches);
        let whole = Scan { predicate: None, limit: None, ..scan.clone() };
        let rows = self.connector.open(&whole, split, context)?;
        let read = async move {
            let known = kept.lock().unwrap().get(&name).cloned();
            if let Some(batches) = known {
                return Ok::<_, DataFusionError>(futures::stream::iter(batches.into_iter().map(Ok)));
            }
            let batches: Vec<RecordBatch> = rows.try_collect().await?;
            kept.lock().unwrap().insert(name, batches.clone());
            Ok(futures::stream::iter(batches.into_iter().map(Ok)))
        };
        let schema = Arc::clone(&scan.schema);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(read).try_flatten())))
    }
}

/// CPU seconds that this process has used.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

#[derive(Clone, Debug)]
struct Source {
    connector: Arc<dyn Connector>,
    schema: String,
    distinct: bool,
}

#[async_trait]
impl SchemaProvider for Source {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(metadata) = self.connector.table(&self.schema, name).await.unwrap() else { return Ok(None) };
        let mut statistics = self.connector.statistics(&metadata.handle).await.unwrap();
        if !self.distinct {
            statistics.columns.iter_mut().for_each(|column| column.distinct_count = None);
        }
        let name = format!("{}.{name}", self.schema);
        let table = ConnectorTable::new("tpch", name, Arc::clone(&self.connector), metadata, &statistics);
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, _name: &str) -> bool {
        true
    }
}

impl CatalogProvider for Source {
    fn schema_names(&self) -> Vec<String> {
        vec!["public".into()]
    }

    fn schema(&self, _name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(self.clone()))
    }
}

/// What the one task of a fragment reads.
struct Inputs {
    connector: Arc<dyn Connector>,
    splits: Vec<Vec<Split>>,
    batches: Vec<Vec<RecordBatch>>,
}

impl TaskInputs for Inputs {
    fn splits(&self, scan: u32) -> Vec<Split> {
        self.splits[scan as usize].clone()
    }

    fn connector(&self, _catalog: &str) -> Result<Arc<dyn Connector>> {
        Ok(Arc::clone(&self.connector))
    }

    fn exchange(&self, input: u32, schema: SchemaRef) -> Result<SendableRecordBatchStream> {
        let batches = self.batches[input as usize].clone().into_iter().map(Ok);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches))))
    }

    fn exchange_streams(&self, input: u32, schema: SchemaRef) -> Result<Vec<SendableRecordBatchStream>> {
        Ok(vec![self.exchange(input, schema)?])
    }

    fn split_completed(&self, _scan: u32) {}
}

/// Rows by what they cost.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    built: usize,
    probed: usize,
    joined: usize,
    exchanged: usize,
    scanned: usize,
}

impl Flow {
    fn add(&mut self, other: Flow) {
        self.built += other.built;
        self.probed += other.probed;
        self.joined += other.joined;
        self.exchanged += other.exchanged;
        self.scanned += other.scanned;
    }

    fn through_joins(&self) -> usize {
        self.built + self.probed + self.joined
    }
}

fn output_rows(node: &Arc<dyn ExecutionPlan>) -> usize {
    node.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or_default()
}

/// The rows that an operator gave, or those it was given where it counts none.
fn flow_of(plan: &Arc<dyn ExecutionPlan>, flow: &mut Flow) {
    plan.apply(|node| {
        if node.is::<HashJoinExec>() || node.is::<NestedLoopJoinExec>() || node.is::<CrossJoinExec>() {
            flow.joined += output_rows(node);
            let count = |name: &str| {
                node.metrics().and_then(|all| all.sum_by_name(name)).map_or(0, |value| value.as_usize())
            };
            flow.built += count("build_input_rows");
            flow.probed += count("input_rows");
        } else if node.is::<SplitScanExec>() {
            flow.scanned += output_rows(node);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
}

async fn run(plan: &FragmentedPlan, connector: &Arc<dyn Connector>) -> (Flow, usize) {
    let mut outputs: HashMap<StageId, Vec<RecordBatch>> = HashMap::new();
    let mut flow = Flow::default();
    for fragment in plan.fragments.iter().rev() {
        let rows = run_fragment(fragment, connector, &outputs, &mut flow).await;
        flow.exchanged += rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        outputs.insert(fragment.id, rows);
    }
    (flow, outputs[&StageId(0)].iter().map(RecordBatch::num_rows).sum())
}

async fn run_fragment(
    fragment: &PlannedFragment,
    connector: &Arc<dyn Connector>,
    outputs: &HashMap<StageId, Vec<RecordBatch>>,
    flow: &mut Flow,
) -> Vec<RecordBatch> {
    let mut splits = Vec::new();
    for scan in &fragment.scans {
        let options = SplitOptions { target_size_bytes: 64 << 20, node_count: 1, slot_count: 2 };
        let batches: Vec<Vec<Split>> =
            connector.splits(&scan.scan, &options).await.unwrap().try_collect().await.unwrap();
        splits.push(batches.concat());
    }
    let read = |producers: &[StageId]| producers.iter().flat_map(|stage| outputs[stage].clone()).collect();
    let batches = fragment.inputs.iter().map(|input| read(&input.shape.producers)).collect();
    let inputs: Arc<dyn TaskInputs> = Arc::new(Inputs { connector: Arc::clone(connector), splits, batches });
    let config = config_from_options(&fragment.fragment.options)
        .unwrap()
        .with_extension(Arc::new(TaskInputsExtension(inputs)));
    let context = Arc::new(task_context(config, Arc::default()));
    let decoded = decode_fragment(&encode_fragment(&fragment.fragment).unwrap()).unwrap();
    let rows = collect(Arc::clone(&decoded.plan), context).await.unwrap();
    flow_of(&decoded.plan, flow);
    if let Sink::Hash { keys, partitions } = decoded.sink {
        // What an exchange does with the rows, without the exchange.
        let mut partitioner = HashPartitioner::new(keys, partitions).unwrap();
        for batch in &rows {
            partitioner.partition(batch, |_, _| Ok(())).unwrap();
        }
    }
    rows
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder of queries");
    let schema = arguments.next().unwrap_or_else(|| "tiny".into());
    let words: Vec<String> = arguments.collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    let numbers: Vec<u32> = words.iter().filter_map(|word| word.parse().ok()).collect();

    let properties = [("tpch.column-naming", "STANDARD"), ("tpch.double-type-mapping", "DECIMAL")];
    let properties: BTreeMap<String, String> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let connector = connector_tpch::create("tpch", &properties).unwrap();
    let source = Source { connector: Arc::clone(&connector), schema, distinct: !has("undistinct") };
    let mut options = PlannerOptions::default();
    if has("written") {
        options.join_reordering = JoinReordering::None;
    }
    let kept = Arc::new(Kept { connector: Arc::clone(&connector), batches: Arc::default() });
    let reader: Arc<dyn Connector> = Arc::clone(&kept) as _;
    let (mut total, mut seconds) = (Flow::default(), 0.0);
    for number in (1..=22).filter(|number| numbers.is_empty() || numbers.contains(number)) {
        let sql = std::fs::read_to_string(Path::new(&folder).join(format!("q{number:02}.sql"))).unwrap();
        let planner = Planner::new(&options);
        let state = planner.session_state();
        state.catalog_list().register_catalog("datafusion".into(), Arc::new(source.clone()));
        let started = Instant::now();
        let logical = Box::pin(state.create_logical_plan(sql.trim().trim_end_matches(';'))).await.unwrap();
        if has("plan") {
            println!("q{number:02}\n{}", explain::logical(&planner.optimize(&logical).unwrap()));
        }
        let plan = planner.plan(&logical).await.unwrap();
        let planned = started.elapsed();
        if has("plan") {
            println!("{}", explain::distributed(&plan));
            continue;
        }
        Box::pin(run(&plan, &reader)).await;
        let started = cpu_seconds();
        let (flow, rows) = Box::pin(run(&plan, &reader)).await;
        let took = cpu_seconds() - started;
        kept.batches.lock().unwrap().clear();
        println!(
            "q{number:02} joins {:>11} (built {:>9} probed {:>9} gave {:>9}) exchanged {:>9} scanned {:>9} rows {rows:>6} \
             {took:>7.2} s, planned in {planned:.1?}, {} fragments",
            flow.through_joins(),
            flow.built,
            flow.probed,
            flow.joined,
            flow.exchanged,
            flow.scanned,
            plan.fragments.len(),
        );
        total.add(flow);
        seconds += took;
    }
    println!(
        "all joins {} exchanged {} scanned {} in {seconds:.2} s",
        total.through_joins(),
        total.exchanged,
        total.scanned
    );
}
