use base::ErrorCode;

use super::*;
use crate::statement::{ColumnDefinition, IsolationLevel, Property};
use types::Type;

fn location(column: u32) -> ErrorLocation {
    ErrorLocation { line: 1, column }
}

/// A statement in few words.
fn summary(statement: &Statement) -> String {
    let like = |like: &Option<Like>| match like {
        None => String::new(),
        Some(Like { pattern, escape }) => format!(" like {pattern} {}", escape.as_deref().unwrap_or("-")),
    };
    let name =
        |name: &Option<QualifiedName>| name.as_ref().map_or(String::from("-"), QualifiedName::to_string);
    let values =
        |parameters: &[Expression]| parameters.iter().map(Expression::text).collect::<Vec<_>>().join(" | ");
    let properties = |properties: &[Property]| {
        let texts = properties.iter().map(|property| {
            format!(" {}={}", property.name, property.value.as_ref().map_or("DEFAULT", Expression::text))
        });
        texts.collect::<String>()
    };
    match statement {
        Statement::Query(query) => format!("query {}", query.ast),
        Statement::Explain(explain) => format!(
            "explain {:?} {:?} analyze={} verbose={} ({})",
            explain.explain_type,
            explain.format,
            explain.analyze,
            explain.verbose,
            summary(&explain.statement)
        ),
        Statement::Use { catalog, schema, .. } => {
            format!("use {} {schema}", catalog.as_deref().unwrap_or("-"))
        }
        Statement::ShowCatalogs { like: pattern } => format!("catalogs{}", like(pattern)),
        Statement::ShowSchemas { catalog, like: pattern, .. } => {
            format!("schemas {}{}", catalog.as_deref().unwrap_or("-"), like(pattern))
        }
        Statement::ShowTables { schema, like: pattern, .. } => {
            format!("tables {}{}", name(schema), like(pattern))
        }
        Statement::ShowColumns { table, like: pattern, .. } => format!("columns {table}{}", like(pattern)),
        Statement::ShowSession { like: pattern } => format!("session{}", like(pattern)),
        Statement::ShowFunctions { schema, like: pattern } => {
            format!("functions {}{}", name(schema), like(pattern))
        }
        Statement::ShowCreateTable { table, .. } => format!("create table of {table}"),
        Statement::ShowCreateSchema { schema, .. } => format!("create schema of {schema}"),
        Statement::SetSession { name, value } => format!("set {name} = {}", value.text()),
        Statement::ResetSession { name } => format!("reset {name}"),
        Statement::Prepare { name, text, .. } => format!("prepare {name}: {text}"),
        Statement::Execute { name, parameters, .. } => format!("execute {name}: {}", values(parameters)),
        Statement::ExecuteImmediate { statement } => format!("immediate ({})", summary(statement)),
        Statement::Deallocate { name, .. } => format!("deallocate {name}"),
        Statement::DescribeInput { name, .. } => format!("input {name}"),
        Statement::DescribeOutput { name, .. } => format!("output {name}"),
        Statement::CreateSchema { schema, if_not_exists, properties: with, .. } => {
            format!("create schema {schema} {if_not_exists}{}", properties(with))
        }
        Statement::DropSchema { schema, if_exists, cascade, .. } => {
            format!("drop schema {schema} {if_exists} {cascade}")
        }
        Statement::CreateTable { table, if_not_exists, columns, comment, properties: with, .. } => {
            let columns: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            let comment = comment.as_deref().unwrap_or("-");
            format!(
                "create table {table} {if_not_exists} [{}] {comment}{}",
                columns.join(" "),
                properties(with)
            )
        }
        Statement::DropTable { table, if_exists, .. } => format!("drop table {table} {if_exists}"),
        Statement::StartTransaction { isolation_level, read_only } => {
            format!("start {isolation_level:?} {read_only}")
        }
        Statement::Commit => String::from("commit"),
        Statement::Rollback => String::from("rollback"),
        Statement::SetTimeZone { zone } => {
            format!("zone {}", zone.as_ref().map_or("LOCAL", Expression::text))
        }
    }
}

#[test]
fn statements() {
    for (text, expected) in [
        ("USE tpch.Tiny", "use tpch tiny"),
        ("use \"My S\"", "use - my s"),
        ("SHOW CATALOGS", "catalogs"),
        ("SHOW CATALOGS LIKE 't%' ESCAPE '$'", "catalogs like t% $"),
        ("SHOW SCHEMAS", "schemas -"),
        ("SHOW SCHEMAS FROM tpch", "schemas tpch"),
        ("show schemas in tpch like 'a'", "schemas tpch like a -"),
        ("SHOW TABLES", "tables -"),
        ("SHOW TABLES FROM tpch.tiny", "tables tpch.tiny"),
        ("SHOW TABLES IN tiny LIKE '%a'", "tables tiny like %a -"),
        ("SHOW COLUMNS FROM a.b.c", "columns a.b.c"),
        ("SHOW COLUMNS IN c LIKE 'x'", "columns c like x -"),
        ("DESCRIBE nation", "columns nation"),
        ("DESC tiny.nation", "columns tiny.nation"),
        ("DESCRIBE input", "columns input"),
        ("DESCRIBE output.t", "columns output.t"),
        ("SHOW SESSION", "session"),
        ("SHOW SESSION LIKE 'query%'", "session like query% -"),
        ("SHOW FUNCTIONS", "functions -"),
        ("SHOW FUNCTIONS FROM a.b LIKE 'x'", "functions a.b like x -"),
        ("SHOW CREATE TABLE a.b.c", "create table of a.b.c"),
        ("SHOW CREATE SCHEMA a.b", "create schema of a.b"),
        ("SET SESSION a = 1 + 1", "set a = 1 + 1"),
        ("SET SESSION hive.x = 'y'", "set hive.x = 'y'"),
        ("RESET SESSION a", "reset a"),
        ("RESET SESSION hive.x", "reset hive.x"),
        ("PREPARE p FROM SELECT  ? , 'x'", "prepare p: SELECT  ? , 'x'"),
        ("PREPARE p FROM SHOW TABLES", "prepare p: SHOW TABLES"),
        ("EXECUTE p", "execute p: "),
        (
            "EXECUTE P USING 1, f(2, 'a'), ARRAY[1, 2], DECIMAL '1.5', -3",
            "execute p: 1 | f(2, 'a') | ARRAY[1, 2] | DECIMAL '1.5' | -3",
        ),
        ("EXECUTE immediate", "execute immediate: "),
        ("EXECUTE IMMEDIATE 'USE ' ", "immediate error"),
        ("EXECUTE IMMEDIATE 'SET SESSION a = ?' USING 'it''s'", "immediate (set a = 'it''s')"),
        ("DEALLOCATE PREPARE p", "deallocate p"),
        ("DESCRIBE INPUT p", "input p"),
        ("DESCRIBE OUTPUT p", "output p"),
        ("EXPLAIN SHOW TABLES", "explain Distributed Text analyze=false verbose=false (tables -)"),
        (
            "EXPLAIN (TYPE LOGICAL, FORMAT JSON) SHOW TABLES",
            "explain Logical Json analyze=false verbose=false (tables -)",
        ),
        (
            "EXPLAIN (FORMAT GRAPHVIZ, TYPE IO) SHOW TABLES",
            "explain Io Graphviz analyze=false verbose=false (tables -)",
        ),
        (
            "EXPLAIN (TYPE VALIDATE) SHOW TABLES",
            "explain Validate Text analyze=false verbose=false (tables -)",
        ),
        (
            "EXPLAIN ANALYZE VERBOSE SHOW TABLES",
            "explain Distributed Text analyze=true verbose=true (tables -)",
        ),
        (
            "EXPLAIN (SELECT a FROM t)",
            "explain Distributed Text analyze=false verbose=false (query (SELECT a FROM t))",
        ),
        ("CREATE SCHEMA a.b", "create schema a.b false"),
        (
            "CREATE SCHEMA IF NOT EXISTS b WITH (location = 'file:///x', n = 1)",
            "create schema b true location='file:///x' n=1",
        ),
        ("DROP SCHEMA a.b", "drop schema a.b false false"),
        ("DROP SCHEMA IF EXISTS b CASCADE", "drop schema b true true"),
        ("DROP SCHEMA b RESTRICT", "drop schema b false false"),
        ("CREATE TABLE t (a bigint)", "create table t false [a] -"),
        (
            "CREATE TABLE IF NOT EXISTS h.s.t (A bigint NOT NULL, \"B c\" varchar(3) COMMENT 'x') COMMENT 'y' \
             WITH (format = 'PARQUET', k = ARRAY['a', 'b'])",
            "create table h.s.t true [a b c] y format='PARQUET' k=ARRAY['a', 'b']",
        ),
        ("DROP TABLE a.b.c", "drop table a.b.c false"),
        ("DROP TABLE IF EXISTS c", "drop table c true"),
        ("START TRANSACTION", "start None false"),
        (
            "START TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ WRITE",
            "start Some(ReadUncommitted) false",
        ),
        ("START TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE", "start Some(Serializable) true"),
        ("COMMIT", "commit"),
        ("COMMIT WORK", "commit"),
        ("ROLLBACK WORK", "rollback"),
        ("SET TIME ZONE LOCAL", "zone LOCAL"),
        ("SET TIME ZONE 'America/New_York'", "zone 'America/New_York'"),
        ("SET TIME ZONE INTERVAL '2' HOUR", "zone INTERVAL '2' HOUR"),
        ("  -- a comment\n SHOW /* x */ CATALOGS  ", "catalogs"),
    ] {
        match parse(text) {
            Ok(statement) => assert_eq!(summary(&statement), expected, "{text}"),
            Err(error) => assert!(expected.ends_with("error"), "{text}: {error}"),
        }
    }
}

#[test]
fn queries_are_rewritten() {
    for (text, expected) in [
        ("SELECT A, \"B\" FROM T", "SELECT a, \"b\" FROM t"),
        ("TABLE s.t", "SELECT * FROM s.t"),
        ("(TABLE t) UNION ALL TABLE u", "(SELECT * FROM t) UNION ALL SELECT * FROM u"),
        ("WITH x AS (TABLE t) SELECT * FROM x", "WITH x AS (SELECT * FROM t) SELECT * FROM x"),
        ("VALUES 'a', 'b'", "VALUES ('a'), ('b')"),
        ("VALUES ('a', 2e0), ROW('b', null)", "VALUES ('a', CAST('2e0' AS DOUBLE)), ('b', NULL)"),
        ("VALUES ('a') || 'b', (SELECT 'c')", "VALUES (('a') || 'b'), ((SELECT 'c'))"),
        ("SELECT * FROM (VALUES 1.5, 2.5) t(a)", "SELECT * FROM (VALUES (1.5), (2.5)) t (a)"),
        ("VALUES 'a' UNION VALUES 'b' ORDER BY 1", "VALUES ('a') UNION VALUES ('b') ORDER BY 1"),
        ("SELECT a FROM t OFFSET 2 ROWS LIMIT 3", "SELECT a FROM t LIMIT 3 OFFSET 2 ROWS"),
        ("SELECT a FROM t FETCH FIRST 3 ROWS ONLY", "SELECT a FROM t LIMIT 3"),
        ("SELECT a FROM t OFFSET 1 FETCH NEXT ROW ONLY", "SELECT a FROM t LIMIT 1 OFFSET 1"),
        ("SELECT 1, -1, 3000000000", "SELECT CAST(1 AS INT), CAST(-1 AS INT), 3000000000"),
        ("SELECT 1_000, 0x10, 0b11 + 0", "SELECT CAST(1000 AS INT), CAST(16 AS INT), 3 + 0"),
        ("SELECT DECIMAL '-01.50'", "SELECT CAST('-01.50' AS DECIMAL(3,2))"),
        ("SELECT TIMESTAMP '2020-01-01 00:00:00.1234'", "SELECT TIMESTAMP(6) '2020-01-01 00:00:00.1234'"),
        ("SELECT if(a, 'x', 'y') FROM t", "SELECT CASE WHEN a THEN 'x' ELSE 'y' END FROM t"),
        ("SELECT X'6 1'", "SELECT X'61'"),
    ] {
        let Statement::Query(query) = parse(text).unwrap_or_else(|error| panic!("{text}: {error}")) else {
            panic!("{text}: no query");
        };
        assert_eq!(query.ast.to_string(), expected, "{text}");
    }
}

#[test]
fn typed_literals_of_clients_parse() {
    for literal in [
        "TINYINT '1'",
        "SMALLINT '1'",
        "INTEGER '1'",
        "BIGINT '1'",
        "REAL '1.5'",
        "DOUBLE '1e+20'",
        "DECIMAL '0.10'",
        "DATE '2001-08-22'",
        "TIME '01:02:03.000000'",
        "TIMESTAMP '2001-08-22 03:04:05.321000'",
        "X'616263'",
        "ARRAY[1, 2]",
        "ROW(1, 'a')",
        "MAP(ARRAY[1], ARRAY['a'])",
        "NULL",
        "CAST(NULL AS VARCHAR)",
        "infinity()",
        "-infinity()",
        "nan()",
        "true",
        "INTERVAL '3' MONTH",
        "INTERVAL -'3' DAY",
        "VARCHAR 'x'",
        "UUID '12151fd2-7586-11e9-8f9e-2a86e4085a59'",
        "JSON '{}'",
    ] {
        let text =
            format!("EXECUTE IMMEDIATE 'SELECT ?, x FROM t WHERE ? IS NULL' USING {literal}, {literal}");
        parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn columns_have_types() {
    let text =
        "CREATE TABLE t (a decimal(10, 2), b timestamp(3) with time zone NOT NULL, c array(row(x bigint)))";
    let Statement::CreateTable { columns, .. } = parse(text).unwrap() else {
        panic!("no table");
    };
    let types: Vec<&Type> = columns.iter().map(|column| &column.column_type).collect();
    assert_eq!(types[0], &Type::Decimal { precision: 10, scale: 2 });
    assert_eq!(types[1], &Type::TimestampWithTimeZone { precision: 3 });
    assert!(matches!(types[2], Type::Array(_)));
    let expected = ColumnDefinition {
        name: String::from("b"),
        column_type: Type::TimestampWithTimeZone { precision: 3 },
        nullable: false,
        comment: None,
        location: location(35),
    };
    assert_eq!(columns[1], expected);
}

#[test]
fn errors_say_what_and_where() {
    for (text, expected) in [
        ("", "line 1:1: mismatched input '<EOF>'. Expecting: *"),
        ("foo", "line 1:1: mismatched input 'foo'. Expecting: 'ALTER', 'ANALYZE', 'CALL', *"),
        ("$", "line 1:1: mismatched input '$'. Expecting: *"),
        ("SELECT 1;", "line 1:9: mismatched input ';'. Expecting: <EOF>"),
        ("SHOW TABLES;", "line 1:12: mismatched input ';'. Expecting: *"),
        ("SELECT", "line 1:7: mismatched input '<EOF>'. Expecting: *"),
        ("SELECT *\nFROM FROM", "line 2:6: mismatched input 'FROM'. Expecting: *"),
        ("SELECT DATE '2020-02-30'", "line 1:13: '2020-02-30' is not a valid DATE literal"),
        ("SELECT FROM t", "line 1:8: mismatched input 'FROM'. Expecting: <expression>"),
        ("SELECT a\nFROM", "line 2:5: mismatched input '<EOF>'. Expecting: <identifier>"),
        ("SELECT 1 FROM t WHERE", "line 1:22: mismatched input '<EOF>'. Expecting: <expression>"),
        ("SELECT 1 1", "line 1:10: mismatched input '1'. Expecting: <EOF>"),
        ("SELECT (1", "line 1:10: mismatched input '<EOF>'. Expecting: ')'"),
        ("SELECT 'open", "line 1:8: mismatched input '''. Expecting: <expression>"),
        ("SELECT a::int FROM t", "line 1:9: mismatched input '::'. Expecting: <expression>"),
        ("SELECT a == b", "line 1:10: mismatched input '=='. Expecting: <expression>"),
        ("SELECT a <=> b", "line 1:12: mismatched input '>'. Expecting: <expression>"),
        ("SELECT a ~ 'b'", "line 1:10: mismatched input '~'. Expecting: <expression>"),
        ("SELECT @x", "line 1:8: mismatched input '@'. Expecting: <expression>"),
        ("SELECT $1", "line 1:8: mismatched input '$'. Expecting: <expression>"),
        ("SELECT {a: 1}", "line 1:8: mismatched input '{'. Expecting: <expression>"),
        ("SELECT a ILIKE 'b'", "line 1:10: mismatched input 'ILIKE'. Expecting: <EOF>"),
        ("SELECT `a`", "line 1:8: backquoted identifiers are not supported; *"),
        ("SELECT 1x", "line 1:8: identifiers must not start with a digit; *"),
        ("SELECT a FROM t LIMIT 1 OFFSET 2", "line 1:25: mismatched input 'OFFSET'. Expecting: <EOF>"),
        ("SELECT a FROM t LIMIT 1, 2", "line 1:24: mismatched input ','. Expecting: <EOF>"),
        ("SELECT interval 1 day", "line 1:17: mismatched input '1'. Expecting: '+', '-', <string>"),
        (
            "SHOW",
            "line 1:5: mismatched input '<EOF>'. Expecting: 'BRANCHES', 'CATALOGS', 'COLUMNS', 'CREATE', *",
        ),
        ("SHOW TABLES LIKE", "line 1:17: mismatched input '<EOF>'. Expecting: <string>"),
        ("SHOW SCHEMAS LIKE '%$_%' ESCAPE", "line 1:32: mismatched input '<EOF>'. Expecting: <string>"),
        ("SHOW SCHEMAS FROM a.b", "line 1:20: mismatched input '.'. Expecting: 'LIKE', <EOF>"),
        ("USE", "line 1:4: mismatched input '<EOF>'. Expecting: <identifier>"),
        ("USE a.b.c", "line 1:8: mismatched input '.'. Expecting: <EOF>"),
        ("USE select", "line 1:5: mismatched input 'select'. Expecting: <identifier>"),
        ("SET SESSION a", "line 1:14: mismatched input '<EOF>'. Expecting: '.', '='"),
        ("SET SESSION a =", "line 1:16: mismatched input '<EOF>'. Expecting: <expression>"),
        ("SET SESSION a = b", "line 1:17: Constant expression cannot contain column references"),
        ("EXECUTE p USING (SELECT 1)", "line 1:17: Constant expression cannot contain column references"),
        ("PREPARE p SELECT 1", "line 1:11: mismatched input 'SELECT'. Expecting: 'FROM'"),
        ("DEALLOCATE p", "line 1:12: mismatched input 'p'. Expecting: 'PREPARE'"),
        ("EXPLAIN", "line 1:8: mismatched input '<EOF>'. Expecting: *"),
        (
            "EXPLAIN (TYPE FOO) SELECT 1",
            "line 1:15: mismatched input 'FOO'. Expecting: 'DISTRIBUTED', 'IO', *",
        ),
        ("CREATE TABLE t (a foo)", "line 1:19: Unknown type 'foo' for column 'a'"),
        ("CREATE TABLE t (a bigint, a date)", "line 1:27: Column name 'a' specified more than once"),
        ("CREATE TABLE t ()", "line 1:17: mismatched input ')'. Expecting: 'LIKE', <identifier>"),
        ("CREATE TABLE t (a)", "line 1:18: mismatched input ')'. Expecting: <type>"),
        ("CREATE TABLE t AS SELECT 1", "line 1:1: CREATE TABLE AS is not supported"),
        ("INSERT INTO t SELECT 1", "line 1:1: INSERT is not supported"),
        ("CREATE VIEW v AS SELECT 1", "line 1:1: CREATE VIEW is not supported"),
        ("SHOW STATS FOR t", "line 1:1: SHOW STATS is not supported"),
        ("SELECT ?", "line 1:1: Incorrect number of parameters: expected 1 but found 0"),
        ("EXECUTE IMMEDIATE 'SELECT ?'", "line 1:20: Incorrect number of parameters: expected 1 but found 0"),
        (
            "EXECUTE IMMEDIATE 'SELECT 1' USING 1, 2",
            "line 1:20: Incorrect number of parameters: expected 0 but found 2",
        ),
        ("EXECUTE IMMEDIATE 'SELECT ''foo'", "line 1:27: mismatched input '''. Expecting: <expression>"),
        ("EXECUTE IMMEDIATE\n'SELECT ''foo'", "line 2:9: mismatched input '''. Expecting: <expression>"),
        ("SELECT 9223372036854775809", "line 1:8: Invalid numeric literal: 9223372036854775809"),
        ("SELECT cast(a AS string) FROM t", "Unknown type: string"),
        ("SELECT DECIMAL '1.x'", "line 1:16: '1.x' is not a valid DECIMAL literal"),
    ] {
        let error = parse(text).map(|statement| summary(&statement)).expect_err(text).to_string();
        match expected.strip_suffix('*') {
            Some(start) => assert!(error.starts_with(start), "{text}: {error}"),
            None => assert_eq!(error, expected, "{text}"),
        }
    }
}

#[test]
fn errors_have_codes() {
    for (text, code) in [
        ("SELECT FROM", ErrorCode::SYNTAX_ERROR),
        ("SELECT 1;", ErrorCode::SYNTAX_ERROR),
        ("UPDATE t SET a = 1", ErrorCode::NOT_SUPPORTED),
        ("SELECT ?", ErrorCode::INVALID_PARAMETER_USAGE),
        ("SET SESSION a = b", ErrorCode::EXPRESSION_NOT_CONSTANT),
        ("SELECT 99999999999999999999", ErrorCode::INVALID_LITERAL),
        ("CREATE TABLE t (a foo)", ErrorCode::TYPE_NOT_FOUND),
        ("CREATE TABLE t (a date, a date)", ErrorCode::DUPLICATE_COLUMN_NAME),
        ("CREATE SCHEMA t WITH (a = 1, a = 2)", ErrorCode::DUPLICATE_PROPERTY),
        ("SELECT a QUALIFY b", ErrorCode::SYNTAX_ERROR),
    ] {
        assert_eq!(parse(text).expect_err(text).code(), code, "{text}");
    }
}

#[test]
fn parameters_stand_where_expressions_stand() {
    let text = "SELECT ?, a FROM t WHERE b = ? OFFSET ? LIMIT ?";
    let Statement::Execute { parameters, .. } = parse("EXECUTE p USING 'x', 1 + 1, 2, 3").unwrap() else {
        panic!("no EXECUTE");
    };
    let Statement::Query(query) = parse_with_parameters(text, &parameters).unwrap() else {
        panic!("no query");
    };
    assert_eq!(query.ast.to_string(), "SELECT 'x', a FROM t WHERE b = (1 + 1) LIMIT 3 OFFSET 2");
    let error = parse_with_parameters(text, &parameters[..1]).unwrap_err();
    assert_eq!(error.to_string(), "line 1:1: Incorrect number of parameters: expected 4 but found 1");
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(parse(&deep).unwrap_err().code(), ErrorCode::STACK_OVERFLOW);
    let explain = "EXPLAIN ".repeat(1000) + "SHOW TABLES";
    assert_eq!(parse(&explain).unwrap_err().code(), ErrorCode::STACK_OVERFLOW);
}

#[test]
fn isolation_levels() {
    for (text, level) in [
        ("READ COMMITTED", IsolationLevel::ReadCommitted),
        ("REPEATABLE READ", IsolationLevel::RepeatableRead),
    ] {
        let statement = parse(&format!("START TRANSACTION ISOLATION LEVEL {text}")).unwrap();
        let Statement::StartTransaction { isolation_level, .. } = statement else {
            panic!("{text}");
        };
        assert_eq!(isolation_level, Some(level));
    }
}
