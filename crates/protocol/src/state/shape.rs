//! The shape of a query in its plan's record.

use base::{Result, StageId};
use bytes::Bytes;
use scheduler::{Distribution, Edge, InputShape, QueryShape, StageShape};

use super::{senseless, wire};
use crate::node::InvalidMessage;

/// The stages of a query: their shapes, and the fragments they run.
///
/// # Panics
///
/// If there are fewer fragments than stages.
pub fn stages_of_shape(shape: &QueryShape, fragments: &[Bytes]) -> Vec<wire::Stage> {
    let stage = |(at, shape): (usize, &StageShape)| wire::Stage {
        fragment: fragments[at].clone(),
        distribution: Some(distribution_to_wire(shape.distribution)),
        inputs: shape.inputs.iter().map(input_to_wire).collect(),
        scans: shape.scans,
        output_partitions: shape.output_partitions,
        determinate: shape.determinate,
    };
    shape.stages.iter().enumerate().map(stage).collect()
}

/// The shape that the stages of a plan's record tell.
///
/// # Errors
///
/// `EXCHANGE_DATA_LOST` if they tell none.
pub fn shape_from_stages(key: &str, stages: &[wire::Stage]) -> Result<QueryShape> {
    let stages = stages.iter().map(stage_from_wire).collect::<Result<_, _>>();
    Ok(QueryShape { stages: stages.map_err(|error| senseless(key, &error))? })
}

fn distribution_to_wire(distribution: Distribution) -> wire::stage::Distribution {
    match distribution {
        Distribution::Single => wire::stage::Distribution::Single(wire::Unit {}),
        Distribution::Source => wire::stage::Distribution::Source(wire::Unit {}),
        Distribution::Hash { partitions } => wire::stage::Distribution::Hash(partitions),
        Distribution::Arbitrary => wire::stage::Distribution::Arbitrary(wire::Unit {}),
    }
}

fn input_to_wire(input: &InputShape) -> wire::Input {
    let edge = match input.edge {
        Edge::Hash => wire::Edge::Hash,
        Edge::Single => wire::Edge::Single,
        Edge::Broadcast => wire::Edge::Broadcast,
        Edge::Arbitrary => wire::Edge::Arbitrary,
    };
    let producers = input.producers.iter().map(|producer| producer.0).collect();
    wire::Input { producers, edge: edge.into() }
}

fn stage_from_wire(stage: &wire::Stage) -> Result<StageShape, InvalidMessage> {
    let distribution = stage.distribution.as_ref().ok_or(InvalidMessage("a stage without distribution"))?;
    Ok(StageShape {
        distribution: match distribution {
            wire::stage::Distribution::Single(wire::Unit {}) => Distribution::Single,
            wire::stage::Distribution::Source(wire::Unit {}) => Distribution::Source,
            wire::stage::Distribution::Hash(partitions) => Distribution::Hash { partitions: *partitions },
            wire::stage::Distribution::Arbitrary(wire::Unit {}) => Distribution::Arbitrary,
        },
        inputs: stage.inputs.iter().map(input_from_wire).collect::<Result<_, _>>()?,
        scans: stage.scans,
        output_partitions: stage.output_partitions,
        determinate: stage.determinate,
    })
}

fn input_from_wire(input: &wire::Input) -> Result<InputShape, InvalidMessage> {
    let edge = match input.edge() {
        wire::Edge::Hash => Edge::Hash,
        wire::Edge::Single => Edge::Single,
        wire::Edge::Broadcast => Edge::Broadcast,
        wire::Edge::Arbitrary => Edge::Arbitrary,
        wire::Edge::Unspecified => return Err(InvalidMessage("an input without edge")),
    };
    Ok(InputShape { producers: input.producers.iter().copied().map(StageId).collect(), edge })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_comes_back_as_it_was() {
        let input = |producer, edge| InputShape { producers: vec![StageId(producer), StageId(7)], edge };
        let stage = |distribution, edge| StageShape {
            distribution,
            inputs: vec![input(3, edge), input(4, Edge::Broadcast)],
            scans: 2,
            output_partitions: 50,
            determinate: distribution != Distribution::Single,
        };
        let shape = QueryShape {
            stages: vec![
                stage(Distribution::Single, Edge::Single),
                stage(Distribution::Source, Edge::Broadcast),
                stage(Distribution::Hash { partitions: 50 }, Edge::Hash),
                stage(Distribution::Arbitrary, Edge::Arbitrary),
            ],
        };
        let stages = stages_of_shape(&shape, &vec![Bytes::from_static(b"fragment"); 4]);
        assert_eq!(shape_from_stages("q/plan", &stages).unwrap(), shape);
        let broken = wire::Stage { distribution: None, ..stages[0].clone() };
        assert!(shape_from_stages("q/plan", &[broken]).is_err());
    }
}
