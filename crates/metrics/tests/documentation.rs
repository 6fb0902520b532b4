//! `docs/metrics.md` is what the table says.

use std::path::Path;

#[test]
fn the_documentation_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let expected = metrics::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some_and(|update| update == "1") {
        std::fs::write(&path, &expected).expect("docs/metrics.md can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "docs/metrics.md is out of date: UPDATE_DOCS=1 cargo test -p steadfast-metrics --test documentation"
    );
}
