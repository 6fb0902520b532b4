//! What the core knows of a query: its shape, never its plan.

use alloc::format;
use alloc::vec::Vec;

use base::{Error, Result, StageId};

/// The stages of a query and the edges between them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueryShape {
    /// The stages; the index is the [`StageId`]. Stage 0 is the root, whose output is the query's result.
    /// Every input of a stage has a higher id than the stage itself.
    pub stages: Vec<StageShape>,
}

/// What the core knows of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StageShape {
    /// How its tasks are formed.
    pub distribution: Distribution,
    /// Where its rows come from, apart from splits. The index is the input's number within the fragment.
    pub inputs: Vec<InputShape>,
    /// How many table scans the stage has. Splits arrive for each of them by number.
    pub scans: u32,
    /// How many partitions each task writes. 1 unless the consumers read by hash.
    pub output_partitions: u32,
    /// Whether a second run of a task writes the same rows to the same partitions.
    pub determinate: bool,
}

/// How the tasks of a stage are formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Distribution {
    /// One task reads everything.
    Single,
    /// Tasks share the splits of the stage's scans; broadcast inputs go to each.
    Source,
    /// Tasks share the hash partitions of the stage's [`Edge::Hash`] inputs, all of which have this many.
    Hash {
        /// The number of partitions.
        partitions: u32,
    },
    /// Tasks share the producer tasks of the stage's [`Edge::Arbitrary`] inputs: each output is read once, whole.
    Arbitrary,
}

/// An input of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InputShape {
    /// The stages that write it. More than one where the rows of several stages are united.
    pub producers: Vec<StageId>,
    /// Who reads what.
    pub edge: Edge,
}

/// Who reads what over an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Edge {
    /// Each task reads its hash partitions from every producer task.
    Hash,
    /// The only task reads everything. (A gather that keeps the order is the same to the core.)
    Single,
    /// Every task reads everything.
    Broadcast,
    /// Each producer task's output is read by one task.
    Arbitrary,
}

impl QueryShape {
    /// Checks that the stages fit together.
    ///
    /// # Errors
    ///
    /// An internal error that names the stage, because only a faulty planner makes such a shape.
    pub fn validate(&self) -> Result<()> {
        if self.stages.is_empty() {
            return Err(Error::internal("the query has no stage"));
        }
        for (at, stage) in self.stages.iter().enumerate() {
            self.validate_stage(at, stage).map_err(|what| Error::internal(format!("stage {at}: {what}")))?;
        }
        Ok(())
    }

    fn validate_stage(&self, at: usize, stage: &StageShape) -> Result<(), &'static str> {
        if stage.output_partitions == 0 {
            return Err("it has no output partition");
        }
        if stage.scans > 0 && !matches!(stage.distribution, Distribution::Source | Distribution::Single) {
            return Err("it scans but its tasks do not share splits");
        }
        if stage.distribution == (Distribution::Hash { partitions: 0 }) {
            return Err("it has no hash partition");
        }
        for input in &stage.inputs {
            let fits = matches!(
                (input.edge, stage.distribution),
                (Edge::Broadcast, _)
                    | (_, Distribution::Single)
                    | (Edge::Hash, Distribution::Hash { .. })
                    | (Edge::Arbitrary, Distribution::Arbitrary)
            );
            if !fits {
                return Err("an input does not fit its distribution");
            }
            for producer in &input.producers {
                let Some(producer_stage) = self.stages.get(producer.0 as usize) else {
                    return Err("an input comes from a stage that is not there");
                };
                if producer.0 as usize <= at {
                    return Err("an input comes from a stage that is not below it");
                }
                if let (Edge::Hash, Distribution::Hash { partitions }) = (input.edge, stage.distribution)
                    && producer_stage.output_partitions != partitions
                {
                    return Err("an input has another number of hash partitions");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn stage(distribution: Distribution, inputs: Vec<InputShape>) -> StageShape {
        StageShape { distribution, inputs, scans: 0, output_partitions: 1, determinate: true }
    }

    fn input(edge: Edge, producer: u32) -> InputShape {
        InputShape { producers: vec![StageId(producer)], edge }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let hash = |partitions| Distribution::Hash { partitions };
        let leaf = || stage(Distribution::Source, vec![]);
        let bad = [
            vec![],
            vec![stage(Distribution::Single, vec![input(Edge::Single, 0)])],
            vec![stage(Distribution::Single, vec![input(Edge::Single, 7)])],
            vec![stage(hash(4), vec![input(Edge::Hash, 1)]), leaf()],
            vec![stage(hash(0), vec![])],
            vec![stage(Distribution::Source, vec![input(Edge::Hash, 1)]), leaf()],
            vec![StageShape { scans: 1, ..stage(Distribution::Arbitrary, vec![]) }],
            vec![StageShape { output_partitions: 0, ..leaf() }],
        ];
        for (at, stages) in bad.into_iter().enumerate() {
            assert!(QueryShape { stages }.validate().is_err(), "{at}");
        }
        let good = vec![stage(hash(1), vec![input(Edge::Hash, 1), input(Edge::Broadcast, 1)]), leaf()];
        assert_eq!(QueryShape { stages: good }.validate(), Ok(()));
    }
}
