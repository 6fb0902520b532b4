//! The Python client `trino`, with its SQLAlchemy dialect: the suites in `python/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::cluster::Cluster;

/// If set, clients that cannot be installed fail the tests instead of skipping them.
const REQUIRED_VARIABLE: &str = "STEADFAST_CLIENTS_REQUIRED";
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

#[test]
fn the_python_client_is_served() {
    let python = match install() {
        Ok(python) => python,
        Err(problem) if std::env::var_os(REQUIRED_VARIABLE).is_none() => {
            eprintln!("SKIPPED: the Python client cannot be installed: {problem}");
            return;
        }
        Err(problem) => panic!("the Python client cannot be installed: {problem}"),
    };
    let cluster = Cluster::start(&[]);
    let impatient = Cluster::start(&[("query.client.timeout", "2s")]);
    let clusters = json!({ "usual": cluster.description(), "impatient": impatient.description() });
    let status = Command::new(python)
        .args(["-m", "unittest", "discover", "--start-directory", DIRECTORY, "--verbose"])
        .args(std::env::var("STEADFAST_PYTHON_ARGUMENTS").iter().flat_map(|arguments| arguments.split(' ')))
        .env("STEADFAST_CLUSTERS", clusters.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status()
        .expect("the interpreter can be run");
    assert!(status.success(), "the Python suites failed");
}

/// An interpreter with the client, installed once for all runs that want these versions.
fn install() -> Result<PathBuf, String> {
    let requirements = Path::new(DIRECTORY).join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).map_err(|error| error.to_string())?;
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = environment.join("bin/python");
    // Written last, so that what was interrupted is made again.
    let installed = environment.join("installed-requirements.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements))?;
    std::fs::write(installed, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
