use std::sync::Arc;

use async_trait::async_trait;
use base::ErrorCode;
use connector::{Catalogs, ColumnMetadata, Connector, Scan, Split, SplitOptions, TableHandle, TableMetadata};
use datafusion::catalog::default_table_source::DefaultTableSource;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::TableSource;
use futures::stream::BoxStream;

use super::*;
use crate::{CatalogMetadata, Expression, ResolvedTable, Statement, parse, parse_with_parameters};

/// A catalog with the schema `s` and the tables `t` and `u`.
#[derive(Debug)]
struct TestConnector;

#[async_trait]
impl Connector for TestConnector {
    async fn schemas(&self) -> base::Result<Vec<String>> {
        Ok(vec![String::from("s")])
    }

    async fn tables(&self, _schema: &str) -> base::Result<Vec<String>> {
        Ok(vec![String::from("t"), String::from("u")])
    }

    async fn table(&self, schema: &str, table: &str) -> base::Result<Option<TableMetadata>> {
        let columns: &[(&str, Type)] = match (schema, table) {
            ("s", "t") => &[
                ("a", Type::Bigint),
                ("b", Type::Varchar { length: Some(5) }),
                ("c", Type::Decimal { precision: 10, scale: 2 }),
                ("d", Type::Date),
            ],
            ("s", "u") => &[("a", Type::Bigint), ("e", Type::Double)],
            _ => return Ok(None),
        };
        let columns = columns.iter().map(|(name, column_type)| ColumnMetadata {
            name: (*name).to_owned(),
            column_type: column_type.clone(),
            nullable: true,
            comment: None,
        });
        Ok(Some(TableMetadata {
            handle: TableHandle(Default::default()),
            columns: columns.collect(),
            comment: None,
            properties: Vec::new(),
        }))
    }

    async fn splits(
        &self,
        _scan: &Scan,
        _options: &SplitOptions,
    ) -> base::Result<BoxStream<'static, base::Result<Vec<Split>>>> {
        Err(Error::not_supported("splits"))
    }

    fn open(&self, _: &Scan, _: &Split, _: Arc<TaskContext>) -> base::Result<SendableRecordBatchStream> {
        Err(Error::not_supported("open"))
    }
}

struct EmptyTables;

impl TableSources for EmptyTables {
    fn table_source(&self, table: &ResolvedTable) -> Arc<dyn TableSource> {
        Arc::new(DefaultTableSource::new(Arc::new(EmptyTable::new(table.metadata.arrow_schema()))))
    }
}

fn analyzer() -> Analyzer {
    let mut catalogs = Catalogs::default();
    catalogs.insert("c", Arc::new(TestConnector));
    let metadata = Arc::new(CatalogMetadata(Arc::new(catalogs)));
    Analyzer::new(metadata, Arc::new(EmptyTables), Arc::new(Functions::default()))
}

fn session() -> SessionContext {
    SessionContext {
        catalog: Some(String::from("c")),
        schema: Some(String::from("s")),
        user: String::from("alice"),
        ..SessionContext::default()
    }
}

async fn analyze_in(text: &str, session: &SessionContext) -> base::Result<AnalyzedQuery> {
    let Statement::Query(query) = parse(text)? else {
        panic!("{text} is no query");
    };
    analyzer().analyze(&query, session).await
}

async fn columns(text: &str) -> String {
    let analyzed = analyze_in(text, &session()).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    let columns = analyzed.output.iter().map(|column| format!("{} {}", column.name, column.column_type));
    columns.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn output_names_and_types() {
    for (text, expected) in [
        ("SELECT 1, 1", "_col0 integer, _col1 integer"),
        ("SELECT a, a FROM t", "a bigint, a bigint"),
        ("SELECT a AS x, 2 AS x FROM t", "x bigint, x integer"),
        ("SELECT A, T.B, \"C\" FROM t", "A bigint, B varchar(5), C decimal(10,2)"),
        ("SELECT a AS \"My Label\" FROM t", "My Label bigint"),
        ("SELECT * FROM t", "a bigint, b varchar(5), c decimal(10,2), d date"),
        ("SELECT *, a FROM u", "a bigint, e double, a bigint"),
        ("SELECT u.*, t.a FROM t, u", "a bigint, e double, a bigint"),
        ("SELECT * FROM (SELECT a, a + 1 FROM t)", "a bigint, _col1 bigint"),
        ("SELECT * FROM (SELECT 1, 1)", "_col0 integer, _col1 integer"),
        ("SELECT x FROM (SELECT sum(a) FROM t) y(x)", "x bigint"),
        ("VALUES 1, 2", "_col0 integer"),
        ("VALUES (1, 'a'), (2, 'b')", "_col0 integer, _col1 varchar"),
        ("SELECT x, y FROM (VALUES (1, 2)) AS v(x, y)", "x integer, y integer"),
        ("TABLE u", "a bigint, e double"),
        ("SELECT a FROM t UNION ALL SELECT a FROM u", "a bigint"),
        ("SELECT 1 UNION SELECT 2", "_col0 integer"),
        ("WITH w AS (SELECT a, 1 FROM t) SELECT * FROM w", "a bigint, _col1 integer"),
        ("SELECT count(*), count(a) FROM t", "_col0 bigint, _col1 bigint"),
        ("SELECT 1.5, 1e0, true, NULL", "_col0 decimal(2,1), _col1 double, _col2 boolean, _col3 unknown"),
        (
            "SELECT BIGINT '1', DOUBLE '1.5', REAL '1.5', DECIMAL '1.50', TINYINT '1', SMALLINT '2'",
            "_col0 bigint, _col1 double, _col2 real, _col3 decimal(3,2), _col4 tinyint, _col5 smallint",
        ),
        ("SELECT DATE '2020-01-01', X'61'", "_col0 date, _col1 varbinary"),
        ("SELECT TIMESTAMP '2020-01-01 00:00:00.123456'", "_col0 timestamp(6)"),
        (
            "SELECT current_user, current_catalog, current_schema, version()",
            "_col0 varchar, _col1 varchar, _col2 varchar, _col3 varchar",
        ),
        ("SELECT if(a > 1, 'x', 'y') FROM t", "_col0 varchar"),
        ("SELECT approx_distinct(a), approx_distinct(a) - 1 FROM t", "_col0 bigint, _col1 bigint"),
        (
            "SELECT rank() OVER w - row_number() OVER w, a - dense_rank() OVER w, ntile(2) OVER w * 2 FROM t
             WINDOW w AS (ORDER BY a)",
            "_col0 bigint, _col1 bigint, _col2 bigint",
        ),
        (
            "SELECT c / 3, c / c, a / DECIMAL '1.50', 2 / c, a / 2, c / 1e0 FROM t",
            "_col0 decimal(21,13), _col1 decimal(23,13), _col2 decimal(27,6), _col3 decimal(23,11), _col4 bigint, \
             _col5 double",
        ),
        (
            "SELECT sum(a), sum(CAST(a AS double)) FROM t HAVING sum(CAST(a AS double)) > 0",
            "_col0 bigint, _col1 double",
        ),
        ("SELECT sum(a) OVER (), sum(CAST(a AS double)) OVER () FROM t", "_col0 bigint, _col1 double"),
        ("SELECT nation.a FROM c.s.t nation", "a bigint"),
        ("SELECT t.a, c.s.t.b FROM c.s.t", "a bigint, b varchar(5)"),
        ("SELECT d + INTERVAL '3' MONTH FROM t", "_col0 date"),
        (
            "SELECT INTERVAL '3' MONTH, INTERVAL '-1-2' YEAR TO MONTH, INTERVAL '3' DAY",
            "_col0 interval year to month, _col1 interval year to month, _col2 interval day to second",
        ),
        (
            "SELECT ARRAY[1, NULL], ARRAY[ARRAY[1]], MAP(ARRAY[1], ARRAY[2]), ROW(1, 9999999999)",
            "_col0 array(integer), _col1 array(array(integer)), _col2 map(integer, integer), \
             _col3 row(integer, bigint)",
        ),
        ("SELECT nan(), -infinity()", "_col0 double, _col1 double"),
        ("SELECT (a) FROM t", "a bigint"),
        ("SELECT CAST(NULL AS varchar) TABLE_CAT WHERE false", "TABLE_CAT varchar"),
        ("SELECT * FROM (SELECT a, a FROM t)", "a bigint, a bigint"),
        ("SELECT * FROM (SELECT t.a, u.* FROM t JOIN u ON t.a = u.a) x", "a bigint, a bigint, e double"),
        ("SELECT a AS \"x:1\" FROM t", "x:1 bigint"),
        ("SELECT CAST(b AS varchar(3)) FROM t", "_col0 varchar"),
        ("SELECT u.a, x FROM u CROSS JOIN UNNEST(ARRAY[1, 2]) AS v(x)", "a bigint, x bigint"),
        ("SELECT x FROM UNNEST(sequence(1, 3)) AS v(x)", "x bigint"),
        (
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
            "n integer",
        ),
        ("SELECT b, grouping(b) FROM t GROUP BY ROLLUP (b)", "b varchar(5), _col1 integer"),
        ("SELECT (SELECT max(e) FROM u WHERE u.a = t.a) FROM t", "_col0 double"),
    ] {
        let found = columns(text).await.replace("decimal(10, 2)", "decimal(10,2)");
        let found = found.replace("decimal(2, 1)", "decimal(2,1)").replace("decimal(3, 2)", "decimal(3,2)");
        assert_eq!(found, expected, "{text}");
    }
}

#[tokio::test]
async fn order_by_finds_outputs_and_inputs() {
    for text in [
        "SELECT a AS x FROM t ORDER BY x",
        "SELECT a AS x FROM t ORDER BY X + 1",
        "SELECT a AS x FROM t ORDER BY b",
        "SELECT a FROM t ORDER BY t.a",
        "SELECT DISTINCT a FROM t ORDER BY t.a",
        "SELECT a, b FROM t ORDER BY 2, 1 DESC",
        "SELECT b, sum(a) FROM t GROUP BY b ORDER BY sum(a)",
        "SELECT b, sum(a) AS a FROM t GROUP BY b ORDER BY sum(a) DESC, a",
        "SELECT b, sum(a) / 2 FROM t GROUP BY 1 ORDER BY max(a)",
        "SELECT a FROM t UNION SELECT a FROM u ORDER BY a",
        "SELECT 1, 1 ORDER BY 1",
        "SELECT a, rank() OVER (ORDER BY a DESC) r FROM t ORDER BY CASE WHEN r = 1 THEN a END",
        "VALUES 3, 1 ORDER BY 1",
        "SELECT * FROM (SELECT a, b FROM t ORDER BY c LIMIT 3) ORDER BY a OFFSET 1 LIMIT 2",
        "SELECT * FROM t ORDER BY a",
    ] {
        columns(text).await;
    }
}

#[tokio::test]
async fn nulls_come_last_in_both_directions() {
    for direction in ["ASC", "DESC"] {
        let analyzed =
            analyze_in(&format!("SELECT a FROM t ORDER BY a {direction}"), &session()).await.unwrap();
        let plan = analyzed.plan.display_indent().to_string();
        assert!(plan.contains(&format!("{direction} NULLS LAST")), "{plan}");
    }
}

#[tokio::test]
async fn errors() {
    for (text, code, expected) in [
        ("SELECT * FROM x", ErrorCode::TABLE_NOT_FOUND, "line 1:15: Table 'c.s.x' does not exist"),
        ("SELECT *\n FROM S.X", ErrorCode::TABLE_NOT_FOUND, "line 2:7: Table 'c.s.x' does not exist"),
        ("SELECT * FROM y.t", ErrorCode::SCHEMA_NOT_FOUND, "line 1:15: Schema 'y' does not exist"),
        ("SELECT * FROM z.s.t", ErrorCode::CATALOG_NOT_FOUND, "line 1:15: Catalog 'z' not found"),
        (
            "SELECT 1 WHERE 1 IN (SELECT a FROM x)",
            ErrorCode::TABLE_NOT_FOUND,
            "line 1:36: Table 'c.s.x' does not exist",
        ),
        ("SELECT x FROM t", ErrorCode::COLUMN_NOT_FOUND, "line 1:8: Column 'x' cannot be resolved"),
        ("SELECT X FROM t", ErrorCode::COLUMN_NOT_FOUND, "line 1:8: Column 'x' cannot be resolved"),
        ("SELECT t.x FROM t", ErrorCode::COLUMN_NOT_FOUND, "line 1:8: Column 't.x' cannot be resolved"),
        ("SELECT x.a FROM t", ErrorCode::COLUMN_NOT_FOUND, "line 1:8: Column 'x.a' cannot be resolved"),
        (
            "SELECT a FROM t WHERE y = 1",
            ErrorCode::COLUMN_NOT_FOUND,
            "line 1:23: Column 'y' cannot be resolved",
        ),
        ("SELECT 1 ORDER BY y", ErrorCode::COLUMN_NOT_FOUND, "line 1:19: Column 'y' cannot be resolved"),
        (
            "SELECT a AS k FROM t GROUP BY k",
            ErrorCode::COLUMN_NOT_FOUND,
            "line 1:31: Column 'k' cannot be resolved",
        ),
        ("SELECT a FROM t, u", ErrorCode::AMBIGUOUS_NAME, "line 1:8: Column 'a' is ambiguous"),
        ("SELECT a, a FROM t ORDER BY a", ErrorCode::AMBIGUOUS_NAME, "line 1:29: Column 'a' is ambiguous"),
        ("SELECT foo(a) FROM t", ErrorCode::FUNCTION_NOT_FOUND, "line 1:8: Function 'foo' not registered"),
        ("SELECT 1 + Foo(1)", ErrorCode::FUNCTION_NOT_FOUND, "line 1:12: Function 'foo' not registered"),
        (
            "SELECT * FROM foo(1)",
            ErrorCode::FUNCTION_NOT_FOUND,
            "line 1:15: Table function 'foo' not registered",
        ),
        ("SELECT a = b FROM t", ErrorCode::TYPE_MISMATCH, "Cannot apply operator: bigint = varchar*"),
        ("SELECT 1 + 'a'", ErrorCode::TYPE_MISMATCH, "*"),
        (
            "SELECT a FROM t WHERE d > '2020-01-01'",
            ErrorCode::TYPE_MISMATCH,
            "Cannot apply operator: date > varchar*",
        ),
        (
            "SELECT a FROM t WHERE a IN ('x')",
            ErrorCode::TYPE_MISMATCH,
            "Cannot apply operator: bigint = varchar*",
        ),
        ("SELECT a FROM t WHERE a", ErrorCode::TYPE_MISMATCH, "*"),
        ("SELECT abs('x')", ErrorCode::TYPE_MISMATCH, "*"),
        ("SELECT 1 UNION SELECT 1, 2", ErrorCode::TYPE_MISMATCH, "*"),
        (
            "SELECT a, sum(c) FROM t",
            ErrorCode::EXPRESSION_NOT_AGGREGATE,
            "line 1:8: 'a' must be an aggregate expression or appear in GROUP BY clause",
        ),
        (
            "SELECT a FROM t TABLESAMPLE BERNOULLI (10)",
            ErrorCode::NOT_SUPPORTED,
            "TABLESAMPLE is not supported",
        ),
        (
            "SELECT t.b FROM t GROUP BY a",
            ErrorCode::EXPRESSION_NOT_AGGREGATE,
            "line 1:8: 't.b' must be an aggregate expression or appear in GROUP BY clause",
        ),
    ] {
        let error = analyze_in(text, &session()).await.expect_err(text);
        let shown = error.to_string();
        assert_eq!(error.code(), code, "{text}: {shown}");
        match expected.strip_suffix('*') {
            Some(start) => assert!(shown.starts_with(start), "{text}: {shown}"),
            None => assert_eq!(shown, expected, "{text}"),
        }
    }
}

#[tokio::test]
async fn names_need_a_catalog_and_a_schema() {
    let none = SessionContext::default();
    let error = analyze_in("SELECT * FROM t", &none).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::MISSING_SCHEMA_NAME);
    assert_eq!(error.to_string(), "line 1:15: Schema must be specified when session schema is not set");
    let error = analyze_in("SELECT * FROM s.t", &none).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::MISSING_CATALOG_NAME);
    assert_eq!(error.to_string(), "line 1:15: Catalog must be specified when session catalog is not set");
    analyze_in("WITH w AS (SELECT 1 x) SELECT x FROM w", &none).await.unwrap();
    analyze_in("SELECT * FROM c.s.t", &none).await.unwrap();
}

#[tokio::test]
async fn errors_in_immediate_statements_point_into_their_text() {
    let Statement::ExecuteImmediate { statement } =
        parse("EXECUTE IMMEDIATE 'SELECT * FROM tiny.tpch.orders'").unwrap()
    else {
        panic!("no EXECUTE IMMEDIATE");
    };
    let Statement::Query(query) = *statement else {
        panic!("no query");
    };
    let error = analyzer().analyze(&query, &session()).await.unwrap_err();
    assert_eq!(error.to_string(), "line 1:34: Catalog 'tiny' not found");
}

#[tokio::test]
async fn parameters_take_part_in_analysis() {
    let Statement::Execute { parameters, .. } = parse("EXECUTE p USING BIGINT '3', 'x', 5").unwrap() else {
        panic!("no EXECUTE");
    };
    let text = "SELECT ? FROM t WHERE b = ? LIMIT ?";
    let Statement::Query(query) = parse_with_parameters(text, &parameters).unwrap() else {
        panic!("no query");
    };
    let analyzed = analyzer().analyze(&query, &session()).await.unwrap();
    assert_eq!(analyzed.output[0].column_type, Type::Bigint);
    let nulls = [Expression::null(), Expression::null(), Expression::null()];
    parse_with_parameters("SELECT ?, ?, ?", &nulls).unwrap();
}

#[test]
fn constants_have_text_values() {
    let functions = Functions::default();
    for (text, expected) in [
        ("'it''s'", Some("it's")),
        ("1", Some("1")),
        ("1 + 2", Some("3")),
        ("-5", Some("-5")),
        ("1.50", Some("1.50")),
        ("true", Some("true")),
        ("concat('a', 'b')", Some("ab")),
        ("concat('a', 'b', 'c') || 'd'", Some("abcd")),
        ("concat('a', NULL, 'c')", None),
        ("NULL", None),
        ("current_user", Some("alice")),
    ] {
        let Statement::SetSession { value, .. } = parse(&format!("SET SESSION a = {text}")).unwrap() else {
            panic!("no SET SESSION");
        };
        let found = value.evaluate(&functions, &session()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.as_deref(), expected, "{text}");
    }
    let Statement::SetSession { value, .. } = parse("SET SESSION a = 1 / 0").unwrap() else {
        panic!("no SET SESSION");
    };
    let error = value.evaluate(&functions, &session()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DIVISION_BY_ZERO);
}

/// The one value of a query over no tables, as text, or its error.
async fn value(text: &str) -> base::Result<String> {
    let analyzed = analyze_in(text, &session()).await?;
    let context = datafusion::prelude::SessionContext::new();
    let execute = async {
        let batches = context.execute_logical_plan(analyzed.plan).await?.collect().await?;
        let batch = batches.iter().find(|batch| batch.num_rows() > 0).expect("a row");
        Ok(arrow::util::display::array_value_to_string(batch.column(0), 0)?)
    };
    execute.await.map_err(|error| from_datafusion(&error))
}

#[tokio::test]
async fn values() {
    for (text, expected) in [
        ("SELECT 1.1 + 2.22", "3.32"),
        ("SELECT 1_000", "1000"),
        ("SELECT 0b101 + 0x1F", "36"),
        ("SELECT 7 / 2", "3"),
        ("SELECT DECIMAL '1.50'", "1.50"),
        ("SELECT DATE '2020-01-31' + INTERVAL '1' MONTH", "2020-02-29"),
        ("SELECT count(*) FROM (VALUES 1, 2, 3)", "3"),
        ("SELECT x FROM (VALUES 1, 2, 3) t(x) ORDER BY x DESC OFFSET 1 LIMIT 1", "2"),
        ("SELECT x FROM (VALUES 1, 2, NULL) t(x) ORDER BY x DESC FETCH FIRST ROW ONLY", "2"),
        ("SELECT if(1 > 2, 'a', 'b')", "b"),
        ("SELECT CAST('abcdef' AS varchar(3))", "abc"),
        ("SELECT sum(x) FROM UNNEST(sequence(1, 3)) AS v(x)", "6"),
        ("SELECT current_user", "alice"),
        ("SELECT current_schema", "s"),
        ("SELECT current_date", "1970-01-01"),
        ("SELECT now()", "1970-01-01T00:00:00Z"),
        ("SELECT localtimestamp", "1970-01-01T00:00:00"),
        ("SELECT a.x FROM (SELECT 5, 6) a(x, y)", "5"),
    ] {
        let found = value(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found, expected, "{text}");
    }
}

#[tokio::test]
async fn division_by_zero_is_an_error_of_the_user() {
    for text in ["SELECT 1 / 0", "SELECT 1.0 / 0", "SELECT 1 % 0", "SELECT 1 / x FROM (VALUES 0) t(x)"] {
        let error = value(text).await.expect_err(text);
        assert_eq!(error.code(), ErrorCode::DIVISION_BY_ZERO, "{text}");
        assert_eq!(error.message(), "Division by zero", "{text}");
    }
}

#[tokio::test]
async fn long_chains_of_operators_do_not_end_the_process() {
    let chain = |part: &str, operator: &str, count| vec![part; count].join(operator);
    for (text, is_valid) in [
        (chain("SELECT 1", " UNION ALL ", 400), true),
        (chain("SELECT 1", " UNION ALL ", 20_000), false),
        (format!("SELECT 1 WHERE {}", chain("1 = 1", " OR ", 1500)), true),
        (format!("SELECT 1 WHERE {}", chain("1 = 1", " OR ", 20_000)), false),
        (format!("SELECT {}", chain("1", " + ", 20_000)), false),
        (format!("VALUES {}", chain("1", ", ", 20_000)), true),
    ] {
        match analyze_in(&text, &session()).await {
            Ok(_) => assert!(is_valid, "{text:.60}"),
            Err(error) => {
                assert!(!is_valid, "{text:.60}: {error}");
                assert_eq!(error.code(), ErrorCode::STACK_OVERFLOW);
            }
        }
    }
}
