//! What stands beside the checkout for tests to read.

use std::path::{Path, PathBuf};

/// Names another place for it.
const DIRECTORY_VARIABLE: &str = "STEADFAST_SHARED_DIR";

/// What stands beside the checkout for tests to read, or a loud word that it is missing.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there", path.display());
    None
}
