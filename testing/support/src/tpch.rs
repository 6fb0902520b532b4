//! The queries of TPC-H, with their answers at scale factor 1.

use std::io;
use std::path::Path;

use crate::Answer;

/// A query of TPC-H.
#[derive(Clone, Debug)]
pub struct TpchQuery {
    /// Its number, from 1.
    pub number: usize,
    /// Its text, over the standard names of columns.
    pub text: String,
    /// What it gives at scale factor 1.
    pub answer: Answer,
}

/// Reads a query and its answer.
///
/// # Errors
/// Whatever keeps its files under `directory` from being read.
pub fn tpch_query(directory: &Path, number: usize) -> io::Result<TpchQuery> {
    Ok(TpchQuery {
        number,
        text: std::fs::read_to_string(directory.join(format!("queries/q{number:02}.sql")))?,
        answer: Answer::read(&directory.join(format!("answers-sf1/q{number:02}.result")))?,
    })
}
