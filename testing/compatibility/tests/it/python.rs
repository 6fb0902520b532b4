//! The Python client `trino`, with its SQLAlchemy dialect: the suites in `python/`.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::cluster::Cluster;

/// If set, clients that cannot be installed fail the tests instead of skipping them.
const REQUIRED_VARIABLE: &str = "STEADFAST_CLIENTS_REQUIRED";
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

#[test]
fn the_python_client_is_served() {
    let requirements = Path::new(DIRECTORY).join("requirements.txt");
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = match testing::install_python_client(&requirements, &environment) {
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
