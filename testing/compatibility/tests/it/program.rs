//! The program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program to test instead of the one that is built for these tests.
const PROGRAM_VARIABLE: &str = "STEADFAST_PROGRAM";

/// The program, built once for all tests of a process.
pub fn steadfast() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os(PROGRAM_VARIABLE) {
        Some(program) => program.into(),
        None => build(),
    })
}

/// Cargo, as a command that knows nothing of the package whose tests run.
pub fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let is_of_this_package = name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_"));
        if is_of_this_package || name == "CARGO_MANIFEST_DIR" || name == "CARGO_MANIFEST_PATH" {
            command.env_remove(name);
        }
    }
    command
}

/// The directory that all builds share: the one in which these tests were built.
pub fn target_directory() -> &'static Path {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().expect("it is inside of the target directory")
}

fn build() -> PathBuf {
    let mut command = cargo();
    command.args(["build", "--quiet", "--package", "steadfast", "--bin", "steadfast", "--target-dir"]);
    command.arg(target_directory()).current_dir(env!("CARGO_MANIFEST_DIR"));
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    if profile == "release" {
        command.arg("--release");
    }
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "the program does not build");
    target_directory().join(profile).join("steadfast")
}
