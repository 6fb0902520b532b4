//! The last look at a plan before it runs: what would give wrong rows must not pass.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use base::{Error, Result, StageId};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};
use operators::{ExchangeSourceExec, Sink, SplitScanExec, decode_fragment, encode_fragment};
use scheduler::{Distribution, Edge};

use crate::class::{Class, Structure, class_of};
use crate::{FragmentedPlan, PlannedFragment};

/// Checks every fragment and every edge. A violation is an internal error that names the fragment; an operator that
/// cannot travel to workers is `NOT_SUPPORTED`.
pub fn validate(plan: &FragmentedPlan) -> Result<()> {
    for fragment in &plan.fragments {
        check_operators(fragment)?;
        check_distribution(plan, fragment)?;
        check_edges(plan, fragment)?;
        check_sanity(fragment)?;
        check_round_trip(fragment)?;
    }
    Ok(())
}

fn violation(id: StageId, what: impl AsRef<str>) -> Error {
    Error::internal(format!("Fragment {id} is invalid: {}", what.as_ref()))
}

fn check_operators(fragment: &PlannedFragment) -> Result<()> {
    let id = fragment.id;
    let plan = &fragment.fragment.plan;
    if plan.output_partitioning().partition_count() != 1 {
        return Err(violation(id, "it has more than one partition"));
    }
    let is_single = fragment.distribution == Distribution::Single;
    let mut found = Ok(());
    let walked = plan.apply(|node| {
        found = check_operator(fragment, node, is_single);
        Ok(if found.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.map_err(|error| violation(id, error.strip_backtrace()))?;
    found
}

fn check_operator(fragment: &PlannedFragment, node: &Arc<dyn ExecutionPlan>, is_single: bool) -> Result<()> {
    let id = fragment.id;
    if let Some(source) = node.downcast_ref::<ExchangeSourceExec>() {
        let known = fragment.inputs.get(source.input() as usize);
        let fits = known.is_some_and(|input| input.ordered == source.ordering().is_some());
        return if fits { Ok(()) } else { Err(violation(id, "an exchange source reads no input of it")) };
    }
    if has_dynamic_filter(node).map_err(|error| violation(id, error.strip_backtrace()))? {
        return Err(violation(id, format!("{} has a dynamic filter", node.name())));
    }
    match class_of(node) {
        // A scan with a number has one partition and is read by whichever tasks there are.
        Class::SplitScan => Ok(()),
        Class::Structural(Structure::ScalarSubquery) => Ok(()),
        Class::Structural(_) => Err(violation(id, format!("{} is left in it", node.name()))),
        Class::Impossible => Err(Error::not_supported(format!("Operator {} is not supported", node.name()))),
        Class::NeedsAll | Class::NeedsAllOfBoth | Class::Unknown if !is_single => {
            Err(violation(id, format!("{} needs all rows in one task", node.name())))
        }
        Class::NeedsKey | Class::NeedsKeyOfBoth
            if !matches!(fragment.distribution, Distribution::Single | Distribution::Hash { .. }) =>
        {
            Err(violation(id, format!("{} needs rows together by key", node.name())))
        }
        // Stands for a subquery that the fragment does not use; gives no rows, so it may be anywhere.
        Class::OneTaskLeaf if node.name() == "EmptyExec" => Ok(()),
        Class::OneTaskLeaf if !is_single => {
            Err(violation(id, format!("{} would be read by every task", node.name())))
        }
        _ => Ok(()),
    }
}

/// A sort that keeps the first rows has such a filter for itself, which nobody else sees.
fn has_dynamic_filter(node: &Arc<dyn ExecutionPlan>) -> datafusion::common::Result<bool> {
    if node.is::<SortExec>() {
        return Ok(false);
    }
    let mut found = false;
    node.apply_expressions(&mut |expr| {
        expr.apply(|part| {
            found |= part.is::<DynamicFilterPhysicalExpr>();
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn check_distribution(plan: &FragmentedPlan, fragment: &PlannedFragment) -> Result<()> {
    let id = fragment.id;
    let mut driving_scans = 0;
    let mut scans = 0;
    let counted = fragment.fragment.plan.apply(|node| {
        if let Some(scan) = node.downcast_ref::<SplitScanExec>() {
            scans += 1;
            driving_scans += usize::from(scan.is_parallel());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    counted.map_err(|error| violation(id, error.strip_backtrace()))?;
    if scans != fragment.scans.len() {
        return Err(violation(id, "its scans are not all known"));
    }
    let edges = |edge: Edge| fragment.inputs.iter().filter(|input| input.shape.edge == edge).count();
    let (hash, single, arbitrary) = (edges(Edge::Hash), edges(Edge::Single), edges(Edge::Arbitrary));
    let fits = match fragment.distribution {
        Distribution::Single => hash == 0 && arbitrary == 0 && driving_scans == 0,
        Distribution::Source => hash + single + arbitrary == 0 && driving_scans == 1 && scans == 1,
        Distribution::Hash { .. } => hash > 0 && single + arbitrary == 0 && scans == 0,
        Distribution::Arbitrary => arbitrary > 0 && hash + single == 0 && scans == 0,
    };
    if !fits {
        return Err(violation(id, "its inputs do not fit its distribution"));
    }
    for producer in fragment.inputs.iter().flat_map(|input| &input.shape.producers) {
        if *producer <= id || producer.0 as usize >= plan.fragments.len() {
            return Err(violation(id, format!("it reads fragment {producer}")));
        }
    }
    Ok(())
}

fn check_edges(plan: &FragmentedPlan, fragment: &PlannedFragment) -> Result<()> {
    let id = fragment.id;
    // The types of the keys by which rows come in: the same for all inputs, or equal keys would not meet.
    let mut key_types: Option<Vec<DataType>> = None;
    for input in &fragment.inputs {
        for producer in &input.shape.producers {
            let producer = &plan.fragments[producer.0 as usize];
            if types(&producer.schema()) != types(&input.schema) {
                return Err(violation(
                    id,
                    format!("the columns of fragment {} are not those it reads", producer.id),
                ));
            }
            match (&producer.fragment.sink, input.shape.edge, fragment.distribution) {
                (Sink::Single, Edge::Single | Edge::Broadcast | Edge::Arbitrary, _) => {}
                (Sink::Hash { keys, partitions }, Edge::Hash, Distribution::Hash { partitions: read })
                    if *partitions == read =>
                {
                    let schema = producer.schema();
                    let found: datafusion::common::Result<Vec<DataType>> =
                        keys.iter().map(|key| key.data_type(&schema)).collect();
                    let found = found.map_err(|error| violation(id, error.strip_backtrace()))?;
                    if key_types.get_or_insert_with(|| found.clone()) != &found {
                        return Err(violation(id, "its inputs are spread by keys of different types"));
                    }
                }
                _ => {
                    return Err(violation(id, format!("fragment {} writes in another way", producer.id)));
                }
            }
        }
    }
    Ok(())
}

fn types(schema: &Schema) -> Vec<&DataType> {
    schema.fields().iter().map(|field| field.data_type()).collect()
}

fn check_sanity(fragment: &PlannedFragment) -> Result<()> {
    let mut config = ConfigOptions::new();
    config.execution.target_partitions = 1;
    SanityCheckPlan::new()
        .optimize(Arc::clone(&fragment.fragment.plan), &config)
        .map(|_| ())
        .map_err(|error| violation(fragment.id, error.strip_backtrace()))
}

fn check_round_trip(fragment: &PlannedFragment) -> Result<()> {
    let encoded = encode_fragment(&fragment.fragment).map_err(|error| match unknown_operator(fragment) {
        Some(name) => Error::not_supported(format!("Operator {name} is not supported")).caused_by(error),
        None => error,
    })?;
    let decoded = decode_fragment(&encoded)?;
    let text = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(false).to_string();
    if text(&decoded.plan) != text(&fragment.fragment.plan) {
        return Err(violation(fragment.id, "it does not travel unchanged"));
    }
    Ok(())
}

fn unknown_operator(fragment: &PlannedFragment) -> Option<String> {
    let mut name = None;
    let _ = fragment.fragment.plan.apply(|node| {
        if class_of(node) == Class::Unknown && !node.is::<ExchangeSourceExec>() {
            name = Some(node.name().to_owned());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    name
}
