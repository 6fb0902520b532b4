//! Cuts an optimised physical plan into fragments.
//!
//! The plan is walked bottom-up. What is below an operator is a list of *branches*: unfinished fragments whose rows
//! together are the operator's input. There is more than one only under `UNION ALL`. An operator that fits on a
//! branch grows it; one that needs its rows spread differently ends the branches, each as a fragment that writes to
//! an exchange, and starts a new one that reads it. DataFusion has already put a marker (repartition, coalesce,
//! merge) where rows must move; the markers become exchanges, and the [class](crate::class) of each operator is
//! checked against how its rows are really spread.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use base::{Error, StageId};
use connector::error::into_datafusion;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use operators::{AtMostOneRowExec, ExchangeSourceExec, Fragment, Sink, SplitScanExec};
use scheduler::{Distribution, Edge, InputShape};

use crate::class::{Class, Structure, class_of};
use crate::determinism::{self, Key, is_determinate, unique_keys};
use crate::subquery::{Scope, uses_subquery};
use crate::{FragmentedPlan, PlannedFragment, PlannedInput, PlannedScan};

/// Cuts a plan. `options` go with every fragment.
///
/// Fails with `NOT_SUPPORTED` if the plan has an operator that cannot run on workers.
pub fn cut_plan(plan: &Arc<dyn ExecutionPlan>, options: &[(String, String)]) -> Result<FragmentedPlan> {
    let mut cutter = Cutter::default();
    let mut branches = cutter.cut(plan)?;
    let root = if branches.len() == 1 {
        branches.swap_remove(0)
    } else {
        // The result is whatever the branches write, in any order.
        let plan = cutter.exchange(branches, Edge::Arbitrary, &plan.schema(), None)?;
        Branch { plan, distribution: Distribution::Arbitrary }
    };
    cutter.finish(root, Sink::Single)?;
    cutter.into_plan(plan.schema(), options)
}

/// The most rows that a sort may be told to keep. Beyond it there is nothing to gain, and the largest numbers do not
/// travel.
const SORT_FETCH_MAX: usize = u32::MAX as usize;

/// A fragment that still grows.
struct Branch {
    plan: Arc<dyn ExecutionPlan>,
    distribution: Distribution,
}

impl Branch {
    fn is_single(&self) -> bool {
        self.distribution == Distribution::Single
    }
}

/// A fragment that is complete but for its numbers.
struct Draft {
    plan: Arc<dyn ExecutionPlan>,
    distribution: Distribution,
    sink: Sink,
}

struct Exchange {
    /// By place in `Cutter::drafts`.
    producers: Vec<usize>,
    edge: Edge,
    ordered: bool,
    schema: SchemaRef,
}

#[derive(Default)]
struct Cutter {
    /// Producers come before their consumers.
    drafts: Vec<Draft>,
    /// While cutting, exchange sources carry the place of their exchange here as their input number.
    exchanges: Vec<Exchange>,
    scope: Option<Scope>,
}

impl Cutter {
    fn cut(&mut self, node: &Arc<dyn ExecutionPlan>) -> Result<Vec<Branch>> {
        if let Some(limit) = limit_over_sort(node) {
            return self.cut(&limit);
        }
        let children: Vec<Arc<dyn ExecutionPlan>> = node.children().into_iter().cloned().collect();
        match (class_of(node), children.as_slice()) {
            (Class::Structural(structure), _) => self.cut_structure(structure, node, &children),
            (Class::SplitScan, _) => {
                Ok(vec![Branch { plan: as_leaf(node), distribution: Distribution::Source }])
            }
            (Class::OneTaskLeaf, _) => {
                Ok(vec![Branch { plan: as_leaf(node), distribution: Distribution::Single }])
            }
            (Class::RowLocal, [child]) => {
                let branches = self.cut(child)?;
                branches.into_iter().map(|branch| grow(node, branch)).collect()
            }
            (Class::NeedsKey, [child]) => {
                let mut branches = self.cut(child)?;
                let keeps_keys_together = |branch: &Branch| {
                    matches!(branch.distribution, Distribution::Single | Distribution::Hash { .. })
                };
                let branch = if branches.len() == 1 && keeps_keys_together(&branches[0]) {
                    branches.swap_remove(0)
                } else {
                    self.gather(branches, &child.schema(), None)?
                };
                Ok(vec![grow(node, branch)?])
            }
            (Class::CollectsLeft, [build, probe]) => self.cut_collecting_join(node, build, probe),
            (Class::NeedsKeyOfBoth, [left, right]) => {
                let (left_schema, right_schema) = (left.schema(), right.schema());
                let (left, right) = (self.cut(left)?, self.cut(right)?);
                if let ([one], [other]) = (left.as_slice(), right.as_slice())
                    && one.distribution == other.distribution
                    && matches!(one.distribution, Distribution::Single | Distribution::Hash { .. })
                {
                    let children = vec![Arc::clone(&one.plan), Arc::clone(&other.plan)];
                    let distribution = one.distribution;
                    return Ok(vec![Branch { plan: rebuild(node, children)?, distribution }]);
                }
                let left = self.gather(left, &left_schema, None)?;
                let right = self.gather(right, &right_schema, None)?;
                Ok(vec![Branch {
                    plan: rebuild(node, vec![left.plan, right.plan])?,
                    distribution: Distribution::Single,
                }])
            }
            (Class::Impossible, _) => Err(impossible(node)),
            (Class::NeedsAll, [child]) => {
                let limit = node.downcast_ref::<GlobalLimitExec>();
                let rows_max = limit.and_then(|limit| limit.fetch()?.checked_add(limit.skip()));
                let branches = self.cut(child)?;
                let branch = self.gather_at_most(branches, &child.schema(), rows_max)?;
                Ok(vec![grow(node, branch)?])
            }
            // Everything else, known or not, gets all its rows in one task.
            _ => {
                let mut gathered = Vec::with_capacity(children.len());
                for child in &children {
                    let branches = self.cut(child)?;
                    gathered.push(self.gather(branches, &child.schema(), None)?.plan);
                }
                Ok(vec![Branch { plan: rebuild(node, gathered)?, distribution: Distribution::Single }])
            }
        }
    }

    fn cut_structure(
        &mut self,
        structure: Structure,
        node: &Arc<dyn ExecutionPlan>,
        children: &[Arc<dyn ExecutionPlan>],
    ) -> Result<Vec<Branch>> {
        match (structure, children) {
            (Structure::PassThrough, [child]) => self.cut(child),
            (Structure::Gather, [child]) => {
                let branches = self.cut(child)?;
                Ok(vec![self.gather(branches, &node.schema(), node.fetch())?])
            }
            (Structure::OrderedGather, [child]) => {
                let merge = node.downcast_ref::<SortPreservingMergeExec>().ok_or_else(|| unexpected(node))?;
                let branches = self.cut(child)?;
                Ok(vec![self.ordered_gather(branches, &node.schema(), merge.expr(), merge.fetch())?])
            }
            (Structure::Repartition, [child]) => {
                let repartition = node.downcast_ref::<RepartitionExec>().ok_or_else(|| unexpected(node))?;
                self.cut_repartition(repartition, child, node)
            }
            (Structure::Union, _) => {
                let mut branches = Vec::new();
                for child in children {
                    for branch in self.cut(child)? {
                        let plan = with_names_of(branch.plan, &node.schema())?;
                        branches.push(Branch { plan, ..branch });
                    }
                }
                Ok(branches)
            }
            (Structure::ScalarSubquery, [input, ..]) => {
                let subqueries = node.downcast_ref::<ScalarSubqueryExec>().ok_or_else(|| unexpected(node))?;
                self.cut_subqueries(subqueries, input)
            }
            _ => Err(unexpected(node)),
        }
    }

    fn cut_repartition(
        &mut self,
        repartition: &RepartitionExec,
        child: &Arc<dyn ExecutionPlan>,
        node: &Arc<dyn ExecutionPlan>,
    ) -> Result<Vec<Branch>> {
        let branches = self.cut(child)?;
        let (keys, partitions) = match repartition.partitioning() {
            Partitioning::Hash(keys, partitions) => (keys, *partitions),
            Partitioning::RoundRobinBatch(_) | Partitioning::UnknownPartitioning(_) => return Ok(branches),
            Partitioning::Range(_) => return Ok(vec![self.gather(branches, &node.schema(), None)?]),
        };
        for key in keys {
            // A sink has no subqueries.
            if uses_subquery(key)? {
                return Ok(vec![self.gather(branches, &node.schema(), None)?]);
            }
        }
        let partitions =
            u32::try_from(partitions).map_err(|_| into_datafusion(Error::internal("too many partitions")))?;
        let mut producers = Vec::with_capacity(branches.len());
        for branch in branches {
            producers.push(self.finish(branch, Sink::Hash { keys: keys.clone(), partitions })?);
        }
        let source = self.source(producers, Edge::Hash, &node.schema(), None);
        let plan = match node.output_ordering() {
            // A task reads several partitions of a producer one after the other: their order is lost.
            Some(ordering) if repartition.preserve_order() => sorted(source, ordering, None),
            _ => source,
        };
        Ok(vec![Branch { plan, distribution: Distribution::Hash { partitions } }])
    }

    /// Each task of the probe side gets all of the build side, which is computed once.
    fn cut_collecting_join(
        &mut self,
        node: &Arc<dyn ExecutionPlan>,
        build: &Arc<dyn ExecutionPlan>,
        probe: &Arc<dyn ExecutionPlan>,
    ) -> Result<Vec<Branch>> {
        let schema = build.schema();
        // Every task reads the parts of the build side itself, so they need not be gathered before.
        let build = match build.downcast_ref::<CoalescePartitionsExec>() {
            Some(gather) if gather.fetch().is_none() => self.cut(gather.input())?,
            _ => self.cut(build)?,
        };
        let probe = self.cut(probe)?;
        if let [probe] = probe.as_slice()
            && probe.is_single()
        {
            let build = self.gather(build, &schema, None)?;
            let plan = rebuild(node, vec![build.plan, Arc::clone(&probe.plan)])?;
            return Ok(vec![Branch { plan, distribution: Distribution::Single }]);
        }
        let source = self.exchange(build, Edge::Broadcast, &schema, None)?;
        probe
            .into_iter()
            .map(|branch| {
                let plan = rebuild(node, vec![Arc::clone(&source), branch.plan])?;
                Ok(Branch { plan, distribution: branch.distribution })
            })
            .collect()
    }

    fn cut_subqueries(
        &mut self,
        node: &ScalarSubqueryExec,
        input: &Arc<dyn ExecutionPlan>,
    ) -> Result<Vec<Branch>> {
        let mut sources: Vec<Option<Arc<dyn ExecutionPlan>>> = vec![None; node.subqueries().len()];
        for subquery in node.subqueries() {
            // A subquery does not see the subqueries of the level above.
            let outer = self.scope.take();
            let schema = subquery.plan.schema();
            let branches = self.cut(&subquery.plan)?;
            let branch = self.gather(branches, &schema, None)?;
            let checked: Arc<dyn ExecutionPlan> = Arc::new(AtMostOneRowExec::new(branch.plan));
            let checked = Branch { plan: checked, distribution: Distribution::Single };
            let source = self.exchange(vec![checked], Edge::Broadcast, &schema, None)?;
            self.scope = outer;
            if let Some(slot) = sources.get_mut(subquery.index.as_usize()) {
                *slot = Some(source);
            }
        }
        let sources: Option<Vec<_>> = sources.into_iter().collect();
        let sources = sources.ok_or_else(|| {
            into_datafusion(Error::internal("the subqueries of a plan are not numbered in turn"))
        })?;
        let scope = Scope { results: node.results().clone(), sources };
        let outer = self.scope.replace(scope.clone());
        let branches = self.cut(input)?;
        self.scope = outer;
        branches.into_iter().map(|branch| Ok(Branch { plan: scope.attach(branch.plan)?, ..branch })).collect()
    }

    /// All rows in one task. `fetch`: the first ones that come will do.
    fn gather(&mut self, branches: Vec<Branch>, schema: &SchemaRef, fetch: Option<usize>) -> Result<Branch> {
        let branch = self.gather_at_most(branches, schema, fetch)?;
        let plan = match fetch {
            Some(fetch) => Arc::new(GlobalLimitExec::new(branch.plan, 0, Some(fetch))),
            None => branch.plan,
        };
        Ok(Branch { plan, ..branch })
    }

    /// All rows in one task. No producer task need send more than `rows_max`; the limit itself is up to the caller.
    fn gather_at_most(
        &mut self,
        mut branches: Vec<Branch>,
        schema: &SchemaRef,
        rows_max: Option<usize>,
    ) -> Result<Branch> {
        if branches.len() == 1 && branches[0].is_single() {
            return Ok(branches.swap_remove(0));
        }
        if let Some(rows_max) = rows_max {
            for branch in &mut branches {
                branch.plan = Arc::new(LocalLimitExec::new(Arc::clone(&branch.plan), rows_max));
            }
        }
        let plan = self.exchange(branches, Edge::Single, schema, None)?;
        Ok(Branch { plan, distribution: Distribution::Single })
    }

    /// All rows in one task, merged from what each producer task has sorted.
    fn ordered_gather(
        &mut self,
        branches: Vec<Branch>,
        schema: &SchemaRef,
        ordering: &LexOrdering,
        fetch: Option<usize>,
    ) -> Result<Branch> {
        let mut sorted_branches = Vec::with_capacity(branches.len());
        for branch in branches {
            let is_sorted =
                branch.plan.equivalence_properties().ordering_satisfy(ordering.iter().cloned())?;
            let plan = if is_sorted {
                branch.plan
            } else {
                sorted(branch.plan, ordering, fetch.filter(|rows| *rows <= SORT_FETCH_MAX))
            };
            sorted_branches.push(Branch { plan, ..branch });
        }
        if let [branch] = sorted_branches.as_slice()
            && branch.is_single()
        {
            return self.gather(sorted_branches, schema, fetch);
        }
        if let Some(fetch) = fetch {
            for branch in &mut sorted_branches {
                branch.plan = Arc::new(LocalLimitExec::new(Arc::clone(&branch.plan), fetch));
            }
        }
        let source = self.exchange(sorted_branches, Edge::Single, schema, Some(ordering))?;
        let plan = match fetch {
            Some(fetch) => Arc::new(GlobalLimitExec::new(source, 0, Some(fetch))),
            None => source,
        };
        Ok(Branch { plan, distribution: Distribution::Single })
    }

    /// Ends branches with one output partition, and reads them all.
    fn exchange(
        &mut self,
        branches: Vec<Branch>,
        edge: Edge,
        schema: &SchemaRef,
        ordering: Option<&LexOrdering>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut producers = Vec::with_capacity(branches.len());
        for branch in branches {
            producers.push(self.finish(branch, Sink::Single)?);
        }
        Ok(self.source(producers, edge, schema, ordering))
    }

    fn finish(&mut self, branch: Branch, sink: Sink) -> Result<usize> {
        let plan = match &self.scope {
            Some(scope) => scope.attach(branch.plan)?,
            None => branch.plan,
        };
        self.drafts.push(Draft { plan, distribution: branch.distribution, sink });
        Ok(self.drafts.len() - 1)
    }

    fn source(
        &mut self,
        producers: Vec<usize>,
        edge: Edge,
        schema: &SchemaRef,
        ordering: Option<&LexOrdering>,
    ) -> Arc<dyn ExecutionPlan> {
        let place = u32::try_from(self.exchanges.len()).expect("a plan has few exchanges");
        let (ordered, schema) = (ordering.is_some(), Arc::clone(schema));
        self.exchanges.push(Exchange { producers, edge, ordered, schema: Arc::clone(&schema) });
        let source = ExchangeSourceExec::new(place, schema);
        Arc::new(match ordering {
            Some(ordering) => source.with_ordering(ordering.clone()),
            None => source,
        })
    }

    /// Whether each draft writes the same rows again, by place.
    fn determinism(&self) -> Result<Vec<bool>> {
        let mut keys: Vec<Vec<Key>> = Vec::with_capacity(self.drafts.len());
        let mut determinate = Vec::with_capacity(self.drafts.len());
        for draft in &self.drafts {
            // Rows of several producers may be the same.
            let keys_of_input = |place: u32| match self.exchanges[place as usize].producers.as_slice() {
                [producer] => keys[*producer].clone(),
                _ => Vec::new(),
            };
            let inputs = determinism::Inputs { keys: &keys_of_input };
            determinate.push(is_determinate(&draft.plan, &draft.sink, &inputs)?);
            let own = unique_keys(&draft.plan, &inputs);
            keys.push(own);
        }
        Ok(determinate)
    }

    /// Numbers the fragments, and the inputs and scans of each. The last draft is the root: it becomes stage 0, and
    /// each consumer comes before its producers.
    fn into_plan(self, output_schema: SchemaRef, options: &[(String, String)]) -> Result<FragmentedPlan> {
        let last = self.drafts.len() - 1;
        let stage = |draft: usize| StageId(u32::try_from(last - draft).expect("a plan has few fragments"));
        let determinate = self.determinism()?;
        let mut fragments = Vec::with_capacity(self.drafts.len());
        for (at, draft) in self.drafts.into_iter().enumerate().rev() {
            let numbered = number_leaves(draft.plan)?;
            let inputs = numbered.exchanges.iter().map(|exchange| {
                let exchange = &self.exchanges[*exchange as usize];
                let mut producers: Vec<StageId> =
                    exchange.producers.iter().map(|draft| stage(*draft)).collect();
                producers.sort();
                PlannedInput {
                    shape: InputShape { producers, edge: exchange.edge },
                    ordered: exchange.ordered,
                    schema: Arc::clone(&exchange.schema),
                }
            });
            fragments.push(PlannedFragment {
                id: stage(at),
                inputs: inputs.collect(),
                determinate: determinate[at],
                fragment: Fragment { plan: numbered.plan, sink: draft.sink, options: options.to_vec() },
                distribution: draft.distribution,
                scans: numbered.scans,
            });
        }
        Ok(FragmentedPlan { fragments, output_schema })
    }
}

struct Numbered {
    plan: Arc<dyn ExecutionPlan>,
    /// By input number.
    exchanges: Vec<u32>,
    scans: Vec<PlannedScan>,
}

fn number_leaves(plan: Arc<dyn ExecutionPlan>) -> Result<Numbered> {
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    let mut exchanges = Vec::new();
    let mut scans: Vec<PlannedScan> = Vec::new();
    let plan = plan.transform_up(|node| {
        if let Some(source) = node.downcast_ref::<ExchangeSourceExec>() {
            let next = u32::try_from(exchanges.len()).expect("a fragment has few inputs");
            let number = *numbers.entry(source.input()).or_insert_with(|| {
                exchanges.push(source.input());
                next
            });
            return Ok(Transformed::yes(Arc::new(source.with_input(number)) as Arc<dyn ExecutionPlan>));
        }
        if let Some(scan) = node.downcast_ref::<SplitScanExec>() {
            let number = u32::try_from(scans.len()).expect("a fragment has few scans");
            scans.push(PlannedScan {
                catalog: scan.catalog().to_owned(),
                table_name: scan.table_name().to_owned(),
                scan: scan.scan().clone(),
            });
            return Ok(Transformed::yes(Arc::new(scan.in_fragment(number)) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(node))
    });
    Ok(Numbered { plan: plan.data()?, exchanges, scans })
}

/// A leaf in the form that one task runs.
fn as_leaf(node: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if let Some(scan) = node.downcast_ref::<SplitScanExec>() {
        return Arc::new(scan.in_fragment(0));
    }
    if node.is::<EmptyExec>() {
        return Arc::new(EmptyExec::new(node.schema()));
    }
    if node.is::<PlaceholderRowExec>() {
        return Arc::new(PlaceholderRowExec::new(node.schema()));
    }
    Arc::clone(node)
}

fn grow(node: &Arc<dyn ExecutionPlan>, branch: Branch) -> Result<Branch> {
    Ok(Branch { plan: rebuild(node, vec![branch.plan])?, distribution: branch.distribution })
}

/// The operator over new inputs, which are sorted where it needs them to be and they are not any more.
fn rebuild(
    node: &Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut ordered = Vec::with_capacity(children.len());
    for (child, required) in children.into_iter().zip(node.required_input_ordering()) {
        let Some(required) = required else {
            ordered.push(child);
            continue;
        };
        let required = required.into_single();
        if child.equivalence_properties().ordering_satisfy_requirement(required.clone())? {
            ordered.push(child);
        } else {
            ordered.push(sorted(child, &LexOrdering::from(required), None));
        }
    }
    replace_children_if_necessary(Arc::clone(node), ordered)
}

/// A sort that keeps too many rows, as a sort that keeps all and a limit.
fn limit_over_sort(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let sort = node.downcast_ref::<SortExec>()?;
    let fetch = sort.fetch().filter(|rows| *rows > SORT_FETCH_MAX)?;
    let sort: Arc<dyn ExecutionPlan> = Arc::new(sort.with_fetch(None));
    Some(if node.output_partitioning().partition_count() == 1 {
        Arc::new(GlobalLimitExec::new(sort, 0, Some(fetch)))
    } else {
        Arc::new(LocalLimitExec::new(sort, fetch))
    })
}

fn sorted(
    plan: Arc<dyn ExecutionPlan>,
    ordering: &LexOrdering,
    fetch: Option<usize>,
) -> Arc<dyn ExecutionPlan> {
    let sort = SortExec::new(ordering.clone(), plan).with_preserve_partitioning(true);
    Arc::new(sort.with_fetch(fetch))
}

/// The plan with its columns named as in the schema: operators above a union were planned with the union's names.
fn with_names_of(plan: Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    let own = plan.schema();
    let same = own.fields().iter().zip(schema.fields()).all(|(own, named)| own.name() == named.name());
    if same {
        return Ok(plan);
    }
    let columns = own.fields().iter().zip(schema.fields()).enumerate().map(|(at, (own, named))| {
        ProjectionExpr { expr: Arc::new(Column::new(own.name(), at)), alias: named.name().clone() }
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
}

fn impossible(node: &Arc<dyn ExecutionPlan>) -> datafusion::error::DataFusionError {
    let text = match node.name() {
        "RecursiveQueryExec" | "WorkTableExec" => "Recursive queries are not supported".to_owned(),
        name => format!("Operator {name} is not supported"),
    };
    into_datafusion(Error::not_supported(text))
}

fn unexpected(node: &Arc<dyn ExecutionPlan>) -> datafusion::error::DataFusionError {
    into_datafusion(Error::internal(format!("{} has an unexpected number of inputs", node.name())))
}
