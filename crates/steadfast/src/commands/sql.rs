//! `steadfast sql`

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;

use crate::Failure;
use crate::cli::{OutputFormat, RunOptions, SqlArguments, prompt, run, statements};
use crate::client::{Client, session};

/// Sends statements to a server.
pub async fn sql(arguments: SqlArguments) -> Result<ExitCode, Failure> {
    let mut client = Client::new(arguments.server, session(&arguments.user, &arguments.source));
    client.session.catalog = arguments.catalog;
    client.session.schema = arguments.schema;
    client.session.system_properties = arguments.session.into_iter().collect();
    let progress = arguments.progress || stderr().is_terminal();
    let text = match (arguments.execute, arguments.file) {
        (Some(text), _) => Some(text),
        (None, Some(file)) => {
            Some(std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?)
        }
        (None, None) => None,
    };
    let Some(text) = text else {
        let format = arguments.output_format.unwrap_or(OutputFormat::Aligned);
        prompt(&mut client, RunOptions { format, progress, summary: true }).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let format = arguments.output_format.unwrap_or(OutputFormat::Csv);
    execute(&mut client, &text, RunOptions { format, progress, summary: false }).await
}

/// Runs the statements of a text, up to the first that fails.
pub async fn execute(client: &mut Client, text: &str, options: RunOptions) -> Result<ExitCode, Failure> {
    for statement in statements(text) {
        if let Err(error) = run(client, &statement, options, &mut stdout().lock()).await {
            eprintln!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
