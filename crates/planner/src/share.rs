//! What is written twice in a statement is computed once.

use std::collections::{BTreeMap, BTreeSet};

use base::{Result, StageId};
use operators::encode_fragment;
use scheduler::{Distribution, Edge};

use crate::{FragmentedPlan, PlannedFragment};

/// What two fragments must have in common to write the same rows to the same partitions.
#[derive(PartialEq)]
struct Likeness {
    encoded: Vec<u8>,
    distribution: Distribution,
    inputs: Vec<(Vec<StageId>, Edge, bool)>,
}

/// The plan with one fragment for all that are alike: their consumers read what the one writes. A common table
/// expression that is used twice makes such fragments.
///
/// Fragments that are not determinate stay apart, as do those whose rows one input takes together.
///
/// Only right where all that a fragment wrote is kept until every consumer has read it: consumers that wait for each
/// other would otherwise wait for ever.
pub(crate) fn share_fragments(plan: FragmentedPlan) -> Result<FragmentedPlan> {
    let neighbours = neighbours(&plan);
    let mut alike: Vec<(Likeness, Vec<StageId>)> = Vec::new();
    // By the fragment that is gone: the one that stands for it.
    let mut stands_for: BTreeMap<StageId, StageId> = BTreeMap::new();
    // Producers come first, so what a fragment reads is settled before it is compared.
    for fragment in plan.fragments.iter().rev() {
        if !fragment.determinate || fragment.id == StageId(0) {
            continue;
        }
        let likeness = likeness(fragment, &stands_for)?;
        let meets = |other: &StageId| neighbours.contains(&ordered(fragment.id, *other));
        let same = alike.iter_mut().find(|(other, ids)| *other == likeness && !ids.iter().any(meets));
        match same {
            Some((_, ids)) => {
                stands_for.insert(fragment.id, ids[0]);
                ids.push(fragment.id);
            }
            None => alike.push((likeness, vec![fragment.id])),
        }
    }
    Ok(if stands_for.is_empty() { plan } else { without(plan, &stands_for) })
}

fn likeness(fragment: &PlannedFragment, stands_for: &BTreeMap<StageId, StageId>) -> Result<Likeness> {
    let inputs = fragment.inputs.iter().map(|input| {
        let mut producers: Vec<StageId> =
            input.shape.producers.iter().map(|id| *stands_for.get(id).unwrap_or(id)).collect();
        producers.sort();
        (producers, input.shape.edge, input.ordered)
    });
    Ok(Likeness {
        encoded: encode_fragment(&fragment.fragment)?,
        distribution: fragment.distribution,
        inputs: inputs.collect(),
    })
}

/// Pairs of fragments whose rows one input takes together.
fn neighbours(plan: &FragmentedPlan) -> BTreeSet<(StageId, StageId)> {
    let inputs = plan.fragments.iter().flat_map(|fragment| &fragment.inputs);
    inputs
        .flat_map(|input| {
            let producers = &input.shape.producers;
            producers.iter().flat_map(move |one| producers.iter().map(move |other| ordered(*one, *other)))
        })
        .filter(|(one, other)| one != other)
        .collect()
}

fn ordered(one: StageId, other: StageId) -> (StageId, StageId) {
    (one.min(other), one.max(other))
}

/// The plan without the fragments that others stand for, numbered anew. One that stands for others has a higher
/// number than they, so consumers still come before their producers.
fn without(plan: FragmentedPlan, stands_for: &BTreeMap<StageId, StageId>) -> FragmentedPlan {
    let kept = plan.fragments.iter().map(|fragment| fragment.id).filter(|id| !stands_for.contains_key(id));
    let numbers: BTreeMap<StageId, StageId> =
        (0..).map(StageId).zip(kept).map(|(number, id)| (id, number)).collect();
    let number = |id: &StageId| numbers[stands_for.get(id).unwrap_or(id)];
    let fragments = plan
        .fragments
        .into_iter()
        .filter(|fragment| !stands_for.contains_key(&fragment.id))
        .map(|mut fragment| {
            fragment.id = number(&fragment.id);
            for input in &mut fragment.inputs {
                input.shape.producers = input.shape.producers.iter().map(number).collect();
                input.shape.producers.sort();
            }
            fragment
        })
        .collect();
    FragmentedPlan { fragments, output_schema: plan.output_schema }
}
