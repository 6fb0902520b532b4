//! The direction of dependencies: what each crate may use of the others.

use std::collections::BTreeMap;
use std::path::Path;

/// Each crate, and the crates of this workspace that it may use. A new edge is a decision: it belongs in this table
/// and in ARCHITECTURE.md.
const ALLOWED: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("scheduler", &["base"]),
    ("types", &["base"]),
    ("config", &["base"]),
    ("exchange", &["base"]),
    ("listener", &[]),
    ("metrics", &[]),
    ("connector", &["base", "types"]),
    ("connectors/tpch", &["base", "connector", "types"]),
    ("connectors/hive", &["base", "connector", "types"]),
    ("operators", &["base", "connector", "types"]),
    ("planner", &["base", "connector", "operators", "scheduler", "types"]),
    ("sql", &["base", "connector", "types"]),
    ("protocol", &["base", "exchange", "scheduler", "types"]),
    (
        "worker",
        &[
            "base",
            "connector",
            "exchange",
            "listener",
            "metrics",
            "operators",
            "protocol",
            "scheduler",
            "types",
        ],
    ),
    (
        "coordinator",
        &[
            "base",
            "config",
            "connector",
            "exchange",
            "listener",
            "metrics",
            "operators",
            "planner",
            "protocol",
            "scheduler",
            "sql",
            "types",
        ],
    ),
    (
        "steadfast",
        &[
            "base",
            "config",
            "connector",
            "connector-hive",
            "connector-tpch",
            "coordinator",
            "exchange",
            "operators",
            "protocol",
            "scheduler",
            "types",
            "worker",
        ],
    ),
];

/// The crates of this workspace, as manifests name them.
const OURS: &[&str] = &[
    "base",
    "config",
    "connector",
    "connector-hive",
    "connector-tpch",
    "coordinator",
    "exchange",
    "listener",
    "metrics",
    "operators",
    "planner",
    "protocol",
    "scheduler",
    "sql",
    "types",
    "worker",
];

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[").find(|section| section.starts_with("dependencies]"));
    let lines = section.unwrap_or_default().lines().skip(1);
    lines.filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_string).collect()
}

#[test]
fn crates_depend_only_downwards() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for (name, allowed) in &allowed {
        let manifest = std::fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        let used = dependencies(&manifest);
        assert!(!used.is_empty() || allowed.is_empty(), "{name}: no dependencies were found in its manifest");
        for dependency in used.iter().filter(|dependency| OURS.contains(&dependency.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not depend on {dependency}");
        }
    }
    for entry in std::fs::read_dir(&crates).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "connectors" || allowed.contains_key(name.as_str()), "{name} is not in the table");
    }
}

#[test]
fn the_core_has_no_standard_library() {
    for name in ["base", "scheduler"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src/lib.rs");
        let text = std::fs::read_to_string(root).unwrap();
        assert!(text.contains("#![no_std]"), "{name}");
        assert!(!text.contains("extern crate std"), "{name}");
    }
}
