//! A cluster in one process: every task of every fragment decodes its own plan and runs it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use base::StageId;
use connector::error::from_datafusion;
use connector::{Connector, Scan, Split, SplitOptions, TableMetadata};
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlanProperties, collect};
use futures::TryStreamExt;
use operators::{
    ConnectorTable, HashPartitioner, Sink, TaskInputs, TaskInputsExtension, config_from_options,
    decode_fragment, encode_fragment, task_context,
};
use planner::{FragmentedPlan, PlannedFragment, Planner, PlannerOptions, explain};
use scheduler::{Distribution, Edge};

pub const SCHEMA: &str = "tiny";
pub const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

pub fn connector() -> Arc<dyn Connector> {
    static CONNECTOR: OnceLock<Arc<dyn Connector>> = OnceLock::new();
    let create = || {
        let properties = [
            ("tpch.column-naming", "STANDARD"),
            ("tpch.double-type-mapping", "DECIMAL"),
            ("tpch.splits-per-node", "3"),
        ];
        let properties: BTreeMap<String, String> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        connector_tpch::create("tpch", &properties).unwrap()
    };
    Arc::clone(CONNECTOR.get_or_init(create))
}

pub fn full_scan(table: &TableMetadata) -> Scan {
    Scan { table: table.handle.clone(), schema: table.arrow_schema(), predicate: None, limit: None }
}

pub async fn all_splits(connector: &Arc<dyn Connector>, scan: &Scan) -> Vec<Split> {
    let options = SplitOptions { target_size_bytes: 64 << 20, node_count: 2, slot_count: 4 };
    let batches: Vec<Vec<Split>> =
        connector.splits(scan, &options).await.unwrap().try_collect().await.unwrap();
    batches.into_iter().flatten().collect()
}

/// The tables of the connector's schema.
#[derive(Debug)]
struct TpchSchema;

#[async_trait]
impl SchemaProvider for TpchSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.iter().map(ToString::to_string).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = ConnectorTable::load("tpch", &connector(), SCHEMA, name).await;
        Ok(table.unwrap().map(|table| Arc::new(table) as _))
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }
}

#[derive(Debug)]
struct TpchCatalog;

impl CatalogProvider for TpchCatalog {
    fn schema_names(&self) -> Vec<String> {
        vec!["public".into()]
    }

    fn schema(&self, _name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(TpchSchema))
    }
}

async fn analyzed(sql: &str, planner: &Planner) -> base::Result<LogicalPlan> {
    let state = planner.session_state();
    state.catalog_list().register_catalog("datafusion".into(), Arc::new(TpchCatalog));
    Box::pin(state.create_logical_plan(sql)).await.map_err(|error| from_datafusion(&error))
}

pub async fn plan(sql: &str, options: &PlannerOptions) -> base::Result<FragmentedPlan> {
    let planner = Planner::new(options);
    planner.plan(&analyzed(sql, &planner).await?).await
}

/// The optimised logical plan as text.
pub async fn logical(sql: &str, options: &PlannerOptions) -> base::Result<String> {
    let planner = Planner::new(options);
    Ok(explain::logical(&planner.optimize(&analyzed(sql, &planner).await?)?))
}

pub fn with_partitions(partitions: u32) -> PlannerOptions {
    // Small batches, so that every operator sees several.
    PlannerOptions { partitions, batch_rows: 512, ..PlannerOptions::default() }
}

/// The same, with joins spread by hash wherever they can be: the tiny tables would all be broadcast.
pub fn without_broadcast(partitions: u32) -> PlannerOptions {
    PlannerOptions { broadcast_bytes_max: 0, ..with_partitions(partitions) }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// The committed output of a task, by partition.
type Output = Vec<Vec<RecordBatch>>;

#[derive(Clone)]
struct Inputs {
    splits: Vec<Vec<Split>>,
    /// Per input: for each producer task it reads, the batches in order.
    streams: Vec<Vec<Vec<RecordBatch>>>,
}

impl TaskInputs for Inputs {
    fn splits(&self, scan: u32) -> Vec<Split> {
        self.splits[scan as usize].clone()
    }

    fn connector(&self, catalog: &str) -> Result<Arc<dyn Connector>> {
        assert_eq!(catalog, "tpch");
        Ok(connector())
    }

    fn exchange(&self, input: u32, schema: SchemaRef) -> Result<SendableRecordBatchStream> {
        Ok(stream(self.streams[input as usize].concat(), schema))
    }

    fn exchange_streams(&self, input: u32, schema: SchemaRef) -> Result<Vec<SendableRecordBatchStream>> {
        let streams = self.streams[input as usize].iter();
        Ok(streams.map(|batches| stream(batches.clone(), Arc::clone(&schema))).collect())
    }

    fn split_completed(&self, _scan: u32) {}
}

fn stream(batches: Vec<RecordBatch>, schema: SchemaRef) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok))))
}

/// Runs a plan, each stage with a random number of tasks. The rows of the root, by task.
pub async fn run(plan: &FragmentedPlan, random: &mut Random) -> base::Result<Vec<RecordBatch>> {
    let mut outputs: HashMap<StageId, Vec<Output>> = HashMap::new();
    for fragment in plan.fragments.iter().rev() {
        let mut tasks = Vec::new();
        for inputs in form_tasks(fragment, &outputs, random).await {
            tasks.push(run_task(fragment, inputs).await?);
        }
        outputs.insert(fragment.id, tasks);
    }
    let root = outputs.remove(&StageId(0)).unwrap();
    Ok(root.into_iter().flat_map(|mut task| task.remove(0)).collect())
}

/// Runs a plan, and every task once more on the same rows in another order. The fragments that wrote other rows, or
/// the same ones to other partitions.
pub async fn run_twice(plan: &FragmentedPlan, random: &mut Random) -> base::Result<Vec<StageId>> {
    let mut outputs: HashMap<StageId, Vec<Output>> = HashMap::new();
    let mut differ = Vec::new();
    for fragment in plan.fragments.iter().rev() {
        let mut tasks = Vec::new();
        for inputs in form_tasks(fragment, &outputs, random).await {
            let output = run_task(fragment, inputs.clone()).await?;
            let again = run_task(fragment, reordered(fragment, inputs, random)).await?;
            let parts = |output: &Output| output.iter().map(|rows| sorted_rows(rows)).collect::<Vec<_>>();
            if parts(&again) != parts(&output) && !differ.contains(&fragment.id) {
                differ.push(fragment.id);
            }
            tasks.push(output);
        }
        outputs.insert(fragment.id, tasks);
    }
    Ok(differ)
}

/// The same rows as they may come the next time.
fn reordered(fragment: &PlannedFragment, mut inputs: Inputs, random: &mut Random) -> Inputs {
    for (input, streams) in fragment.inputs.iter().zip(&mut inputs.streams) {
        random.shuffle(streams);
        if !input.ordered {
            for batches in streams {
                random.shuffle(batches);
            }
        }
    }
    inputs
}

fn sorted_rows(batches: &[RecordBatch]) -> Vec<String> {
    let text = arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string();
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

/// The parts into which `count` things are divided, in order; at least one part, some may be empty.
fn parts(count: usize, random: &mut Random) -> Vec<Range<usize>> {
    let mut cuts: Vec<usize> = (0..random.below(5)).map(|_| random.below(count + 1)).collect();
    cuts.push(0);
    cuts.push(count);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

async fn form_tasks(
    fragment: &PlannedFragment,
    outputs: &HashMap<StageId, Vec<Output>>,
    random: &mut Random,
) -> Vec<Inputs> {
    let mut splits = Vec::new();
    for scan in &fragment.scans {
        splits.push(all_splits(&connector(), &scan.scan).await);
    }
    let producers_of = |input: usize| {
        fragment.inputs[input]
            .shape
            .producers
            .iter()
            .flat_map(|producer| &outputs[producer])
            .collect::<Vec<_>>()
    };
    let ranges = match fragment.distribution {
        Distribution::Single => std::iter::once(0..usize::MAX).collect(),
        Distribution::Source => parts(splits[0].len(), random),
        Distribution::Hash { partitions } => parts(partitions as usize, random),
        Distribution::Arbitrary => parts(producers_of(0).len(), random),
    };
    let mut tasks = Vec::new();
    for range in ranges {
        let mine = |len: usize| range.start.min(len)..range.end.min(len);
        let mut streams = Vec::new();
        for (at, input) in fragment.inputs.iter().enumerate() {
            let producers = producers_of(at);
            let mut read: Vec<Vec<RecordBatch>> = match input.shape.edge {
                Edge::Single | Edge::Broadcast => producers.iter().map(|output| output.concat()).collect(),
                Edge::Hash => producers.iter().map(|output| output[mine(output.len())].concat()).collect(),
                Edge::Arbitrary => {
                    producers[mine(producers.len())].iter().map(|output| output.concat()).collect()
                }
            };
            random.shuffle(&mut read);
            streams.push(read);
        }
        let splits = splits.iter().map(|splits| splits[mine(splits.len())].to_vec()).collect();
        tasks.push(Inputs { splits, streams });
    }
    tasks
}

async fn run_task(fragment: &PlannedFragment, inputs: Inputs) -> base::Result<Output> {
    let encoded = encode_fragment(&fragment.fragment)?;
    let inputs: Arc<dyn TaskInputs> = Arc::new(inputs);
    let config = config_from_options(&fragment.fragment.options)?
        .with_extension(Arc::new(TaskInputsExtension(inputs)));
    let context = Arc::new(task_context(config, Arc::default()));
    let fragment = decode_fragment(&encoded)?;
    assert_eq!(fragment.plan.output_partitioning().partition_count(), 1);
    let batches =
        collect(Arc::clone(&fragment.plan), context).await.map_err(|error| from_datafusion(&error))?;
    match fragment.sink {
        Sink::Single => Ok(vec![batches]),
        Sink::Hash { keys, partitions } => {
            let mut output = vec![Vec::new(); partitions as usize];
            let mut partitioner = HashPartitioner::new(keys, partitions).unwrap();
            for batch in batches {
                partitioner
                    .partition(&batch, |partition, rows| {
                        output[partition as usize].push(rows);
                        Ok(())
                    })
                    .map_err(|error| from_datafusion(&error))?;
            }
            Ok(output)
        }
    }
}
