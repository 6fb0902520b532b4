//! Every metric as data, and the text that monitoring reads.
//!
//! A metric is a constant in [`table`]. A node writes what it knows of itself into a [`Page`] when it is asked;
//! nothing is collected in between, except by whoever owns a number that would be gone by then.
//! `docs/metrics.md` is written from the table.

#![forbid(unsafe_code)]

mod definition;
mod markdown;
mod page;
pub mod table;

pub use definition::{Kind, Label, Metric, Unit};
pub use markdown::markdown;
pub use page::{CONTENT_TYPE, Floors, Page};
pub use table::METRICS;
