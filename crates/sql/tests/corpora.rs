//! The queries of TPC-H and TPC-DS parse; those of TPC-H are valid over the `tpch` catalog.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use connector::Catalogs;
use datafusion::catalog::default_table_source::DefaultTableSource;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::TableSource;
use sql::{Analyzer, CatalogMetadata, Functions, ResolvedTable, SessionContext, Statement, TableSources};
use types::Type;

/// The `.sql` files of a folder, by name. None, with a note, if the folder is not there.
fn queries(folder: &str) -> Option<Vec<(String, String)>> {
    let shared = std::env::var_os("STEADFAST_SHARED_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let path = shared.join(folder);
    let Ok(entries) = std::fs::read_dir(&path) else {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    };
    let mut queries: Vec<(String, String)> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let text = text.trim().trim_end_matches(';').to_owned();
            (path.file_stem().expect("a name").to_string_lossy().into_owned(), text)
        })
        .collect();
    queries.sort();
    Some(queries)
}

struct EmptyTables;

impl TableSources for EmptyTables {
    fn table_source(&self, table: &ResolvedTable) -> Arc<dyn TableSource> {
        Arc::new(DefaultTableSource::new(Arc::new(EmptyTable::new(table.metadata.arrow_schema()))))
    }
}

#[test]
fn tpch_and_tpcds_parse() {
    for (folder, count) in [("tpch/queries", 22), ("tpcds/queries", 103)] {
        let Some(queries) = queries(folder) else {
            return;
        };
        assert_eq!(queries.len(), count, "{folder}");
        for (name, text) in queries {
            let statement = sql::parse(&text).unwrap_or_else(|error| panic!("{folder} {name}: {error}"));
            assert!(matches!(statement, Statement::Query(_)), "{folder} {name}");
        }
    }
}

#[tokio::test]
async fn tpch_is_valid_over_the_tpch_catalog() {
    let Some(queries) = queries("tpch/queries") else {
        return;
    };
    let properties = [("tpch.column-naming", "STANDARD"), ("tpch.double-type-mapping", "DECIMAL")];
    let properties: BTreeMap<String, String> =
        properties.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut catalogs = Catalogs::default();
    catalogs.insert("tpch", connector_tpch::create("tpch", &properties).unwrap());
    let metadata = Arc::new(CatalogMetadata(Arc::new(catalogs)));
    let analyzer = Analyzer::new(metadata, Arc::new(EmptyTables), Arc::new(Functions::default()));
    let session = SessionContext {
        catalog: Some(String::from("tpch")),
        schema: Some(String::from("sf1")),
        ..SessionContext::default()
    };
    for (name, text) in queries {
        let Statement::Query(query) = sql::parse(&text).unwrap() else {
            panic!("{name} is no query");
        };
        let analyzed =
            analyzer.analyze(&query, &session).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(analyzed.output.len(), analyzed.plan.schema().fields().len(), "{name}");
        assert!(analyzed.output.iter().all(|column| !column.name.starts_with('#')), "{name}");
        if name == "q01" {
            assert_eq!(analyzed.output[0].column_type, Type::Varchar { length: Some(1) });
            assert_eq!(analyzed.output[9].name, "count_order");
        }
    }
}
