//! What the core knows of a query: its shape, never its plan.

use alloc::vec::Vec;

use base::StageId;

/// The stages of a query and the edges between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryShape {
    /// The stages; the index is the [`StageId`]. Stage 0 is the root, whose output is the query's result.
    /// Every input of a stage has a higher id than the stage itself.
    pub stages: Vec<StageShape>,
}

/// What the core knows of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct InputShape {
    /// The stages that write it. More than one where the rows of several stages are united.
    pub producers: Vec<StageId>,
    /// Who reads what.
    pub edge: Edge,
}

/// Who reads what over an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
