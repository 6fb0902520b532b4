//! Running statements and printing what they give.

use std::io::Write;

use super::OutputFormat;
use super::output::Printer;
use super::progress::{Progress, summary};
use crate::client::{Client, ClientError};
use protocol::client::StatementStats;

/// How statements are run.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How results are printed.
    pub format: OutputFormat,
    /// Whether a bar shows the progress.
    pub progress: bool,
    /// Whether a line about each query follows its result.
    pub summary: bool,
}

/// Why a statement gave no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server or the query.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The result cannot be printed.
    #[error("the result cannot be printed: {0}")]
    Output(#[from] std::io::Error),
    /// The user pressed Ctrl-C.
    #[error("Query was canceled")]
    Interrupted,
}

/// Runs one statement and prints its result. Ctrl-C cancels it.
pub async fn run(
    client: &mut Client,
    text: &str,
    options: RunOptions,
    out: &mut impl Write,
) -> Result<(), RunError> {
    let progress = Progress::new(options.progress);
    let outcome = fetch(client, text, options, &progress, out).await;
    progress.clear();
    let (id, stats) = outcome?;
    if options.summary {
        eprintln!("\n{}\n", summary(&id, &stats));
    }
    Ok(())
}

async fn fetch(
    client: &mut Client,
    text: &str,
    options: RunOptions,
    progress: &Progress,
    out: &mut impl Write,
) -> Result<(String, StatementStats), RunError> {
    let mut statement = client.start(text).await?;
    let mut printer: Option<Printer> = None;
    let mut last = (String::new(), StatementStats::default());
    let mut update = None;
    loop {
        let page = tokio::select! {
            page = statement.next() => page?,
            _ = tokio::signal::ctrl_c() => {
                statement.cancel().await?;
                return Err(RunError::Interrupted);
            }
        };
        let Some(page) = page else { break };
        progress.show(&page.stats);
        last = (page.id, page.stats);
        update = page.update_type.or(update);
        if let (None, Some(columns)) = (&printer, page.columns)
            && !columns.is_empty()
        {
            printer = Some(Printer::new(options.format, columns));
        }
        if let (Some(printer), false) = (&mut printer, page.rows.is_empty()) {
            progress.clear();
            printer.rows(&page.rows, out)?;
        }
    }
    progress.clear();
    match (&mut printer, update) {
        (Some(printer), _) => printer.finish(out)?,
        (None, Some(update)) => {
            writeln!(out, "{update}")?;
            out.flush()?;
        }
        (None, None) => {}
    }
    Ok(last)
}
