//! The client `trino` of PyPI.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use steadfast::Failure;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

use super::{ClientProgress, EndTeller, Running};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/client.py");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../compatibility/python/requirements.txt");

/// How often the client sends a request before it gives up. Its default is 3; the wait doubles with each.
const ATTEMPT_COUNT_MAX: u32 = 12;
/// How long the client waits for an answer before it asks again. Its default is 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The client `trino` of PyPI.
#[derive(Clone, Debug)]
pub struct PythonClient {
    interpreter: PathBuf,
}

impl PythonClient {
    /// Installs it, unless an earlier run has.
    pub fn install() -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        // The directory that the integration tests of the workspace use, too.
        let target =
            program.parent().and_then(Path::parent).ok_or("this program is in no target directory")?;
        std::fs::create_dir_all(target.join("tmp"))?;
        let environment = target.join("tmp/python");
        let interpreter = testing::install_python_client(Path::new(REQUIREMENTS), &environment)?;
        Ok(PythonClient { interpreter })
    }

    /// Starts a query.
    pub async fn start(&self, address: &str, text: &str) -> Result<Running, Failure> {
        let (host, port) =
            address.trim_start_matches("http://").split_once(':').ok_or("the address has no port")?;
        let mut child = Command::new(&self.interpreter)
            .args([SCRIPT, "--host", host, "--port", port])
            .args(["--max-attempts", &ATTEMPT_COUNT_MAX.to_string()])
            .args(["--request-timeout", &REQUEST_TIMEOUT.as_secs().to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("the client has no standard input")?;
        stdin.write_all(text.as_bytes()).await?;
        drop(stdin);
        let mut lines =
            BufReader::new(child.stdout.take().ok_or("the client has no standard output")?).lines();
        let (told, progress) = watch::channel(ClientProgress::default());
        let teller = EndTeller(told);
        let rows = tokio::spawn(async move {
            // It ends with the task.
            let _child = child;
            while let Ok(Some(line)) = lines.next_line().await {
                let event: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
                if let Some(rows) = event.get("result") {
                    return serde_json::from_value(rows.clone()).map_err(|error| error.to_string());
                }
                if let Some(error) = event.get("error").and_then(Value::as_str) {
                    return Err(error.to_string());
                }
                teller.0.send_modify(|progress| note(progress, &event));
            }
            Err("the client ended without a word".to_string())
        });
        Ok(Running::new(progress, rows))
    }
}

fn note(progress: &mut ClientProgress, event: &Value) {
    if let Some(id) = event.get("id").and_then(Value::as_str) {
        progress.id = Some(id.to_string());
    }
    if let Some(rows) = event.get("rows").and_then(Value::as_u64) {
        progress.rows = usize::try_from(rows).unwrap_or(usize::MAX);
    }
    if let Some(reason) = event.get("retry").and_then(Value::as_str) {
        progress.retries += 1;
        progress.last_retry = Some(reason.to_string());
    }
}
