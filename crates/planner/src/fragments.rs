//! What the planner makes.

use arrow::datatypes::SchemaRef;
use base::StageId;
use connector::Scan;
use operators::Fragment;
use scheduler::{Distribution, InputShape, QueryShape, StageShape};

/// A plan cut into fragments.
#[derive(Clone, Debug)]
pub struct FragmentedPlan {
    /// The fragments; the index is the stage's id. Fragment 0 is the root, whose rows are the result. Every input of
    /// a fragment has a higher id than the fragment.
    pub fragments: Vec<PlannedFragment>,
    /// The columns of the result.
    pub output_schema: SchemaRef,
}

/// A fragment and how it is run.
#[derive(Clone, Debug)]
pub struct PlannedFragment {
    /// The stage it becomes.
    pub id: StageId,
    /// What workers need.
    pub fragment: Fragment,
    /// How its tasks are formed.
    pub distribution: Distribution,
    /// Where its rows come from, apart from splits. The index is the input's number within the fragment.
    pub inputs: Vec<PlannedInput>,
    /// The table scans; the index is the scan's number within the fragment.
    pub scans: Vec<PlannedScan>,
    /// Whether a second run of a task writes the same rows to the same partitions.
    pub determinate: bool,
}

/// An input of a fragment.
#[derive(Clone, Debug)]
pub struct PlannedInput {
    /// Which fragments write it, and who reads what.
    pub shape: InputShape,
    /// Whether the rows of the producers' tasks are merged in order.
    pub ordered: bool,
    /// The columns.
    pub schema: SchemaRef,
}

/// A table scan of a fragment.
#[derive(Clone, Debug)]
pub struct PlannedScan {
    /// The catalog of the table.
    pub catalog: String,
    /// `schema.table`, for people.
    pub table_name: String,
    /// What is read.
    pub scan: Scan,
}

impl FragmentedPlan {
    /// What the scheduler needs to know.
    pub fn shape(&self) -> QueryShape {
        QueryShape { stages: self.fragments.iter().map(PlannedFragment::shape).collect() }
    }

    /// The root fragment.
    pub fn root(&self) -> &PlannedFragment {
        &self.fragments[0]
    }
}

impl PlannedFragment {
    /// What the scheduler needs to know of the stage.
    pub fn shape(&self) -> StageShape {
        StageShape {
            distribution: self.distribution,
            inputs: self.inputs.iter().map(|input| input.shape.clone()).collect(),
            scans: u32::try_from(self.scans.len()).expect("a fragment has few scans"),
            output_partitions: self.fragment.sink.partitions(),
            determinate: self.determinate,
        }
    }

    /// The columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        self.fragment.plan.schema()
    }
}
