//! The prompt: statements over several lines, ended by a semicolon, with a history.

use std::io::stdout;
use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::run::{RunError, RunOptions, run};
use super::split::split;
use crate::Failure;
use crate::client::Client;

/// The file with the history, in the home directory.
const HISTORY_FILE: &str = ".steadfast_history";

/// Reads statements and runs them until the user leaves.
pub async fn prompt(client: &mut Client, options: RunOptions) -> Result<(), Failure> {
    let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(HISTORY_FILE));
    let mut editor = DefaultEditor::new()?;
    if let Some(history) = &history {
        // There is no history yet the first time.
        let _ = editor.load_history(history);
    }
    let mut typed = String::new();
    loop {
        let title = title(client, !typed.is_empty());
        // Reading a line blocks, so it leaves the runtime's threads alone.
        let (returned, line) = tokio::task::spawn_blocking(move || {
            let line = editor.readline(&title);
            (editor, line)
        })
        .await?;
        editor = returned;
        match line {
            Ok(line) => {
                if typed.is_empty() && ["exit", "quit", "exit;", "quit;"].contains(&line.trim()) {
                    break;
                }
                typed.push_str(&line);
                typed.push('\n');
            }
            Err(ReadlineError::Interrupted) => {
                typed.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
        let statements = split(&typed);
        if statements.complete.is_empty() {
            if statements.rest.is_empty() {
                typed.clear();
            }
            continue;
        }
        editor.add_history_entry(typed.trim())?;
        typed = statements.rest;
        for statement in statements.complete {
            match run(client, &statement, options, &mut stdout()).await {
                Ok(()) => {}
                Err(error @ (RunError::Client(_) | RunError::Interrupted)) => eprintln!("{error}\n"),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(history) = &history {
            // A history that cannot be kept is no reason to stop.
            let _ = editor.save_history(history);
        }
    }
    Ok(())
}

fn title(client: &Client, continued: bool) -> String {
    let session = &client.session;
    let name = match (&session.catalog, &session.schema) {
        (Some(catalog), Some(schema)) => format!("steadfast:{catalog}.{schema}"),
        (Some(catalog), None) => format!("steadfast:{catalog}"),
        _ => "steadfast".to_string(),
    };
    match continued {
        true => format!("{:>width$}-> ", "", width = name.len().saturating_sub(1)),
        false => format!("{name}> "),
    }
}
