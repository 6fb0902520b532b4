//! Statements that are read but make no sense: the query fails, with Trino's name for why.

use super::{ANY_USER_ERROR, Case, Expected};
use crate::http::Request;

/// A statement, the name of its error, and what its text says.
const STATEMENTS: &[(&str, &str, &str)] = &[
    ("EXECUTE nobody", "NOT_FOUND", "Prepared statement not found: nobody"),
    ("DEALLOCATE PREPARE nobody", "NOT_FOUND", "Prepared statement not found: nobody"),
    ("DESCRIBE INPUT nobody", "NOT_FOUND", "Prepared statement not found: nobody"),
    ("DESCRIBE OUTPUT nobody", "NOT_FOUND", "Prepared statement not found: nobody"),
    ("EXECUTE IMMEDIATE 'SELEC 1'", "SYNTAX_ERROR", "mismatched input 'SELEC'"),
    ("EXECUTE IMMEDIATE ''", "SYNTAX_ERROR", ""),
    ("EXECUTE IMMEDIATE 'SELECT ?'", "INVALID_PARAMETER_USAGE", "expected 1 but found 0"),
    ("EXECUTE IMMEDIATE 'SELECT 1' USING 2", "INVALID_PARAMETER_USAGE", "expected 0 but found 1"),
    ("EXECUTE IMMEDIATE 'SELECT ?' USING x", "EXPRESSION_NOT_CONSTANT", "column references"),
    ("PREPARE p FROM SELEC 1", "SYNTAX_ERROR", "mismatched input 'SELEC'"),
    ("SELECT ?", "INVALID_PARAMETER_USAGE", "expected 1 but found 0"),
    ("USE nope.tiny", "CATALOG_NOT_FOUND", "nope"),
    ("USE tpch.nope", "SCHEMA_NOT_FOUND", "nope"),
    ("USE tiny", "MISSING_CATALOG_NAME", "Catalog must be specified"),
    ("SET SESSION no_such = 1", "INVALID_SESSION_PROPERTY", "'no_such' does not exist"),
    ("SET SESSION query_max_run_time = NULL", "INVALID_SESSION_PROPERTY", "must not be null"),
    ("SET SESSION query_max_run_time = x", "EXPRESSION_NOT_CONSTANT", "column references"),
    ("RESET SESSION no_such", "INVALID_SESSION_PROPERTY", "'no_such' does not exist"),
    ("SET TIME ZONE 'Mars/Phobos'", ANY_USER_ERROR, "Mars/Phobos"),
    ("START TRANSACTION", "INCOMPATIBLE_CLIENT", "does not support transactions"),
    ("COMMIT", "NOT_IN_TRANSACTION", "No transaction in progress"),
    ("ROLLBACK", "NOT_IN_TRANSACTION", "No transaction in progress"),
    ("SHOW TABLES", "MISSING_CATALOG_NAME", "Catalog must be specified"),
    ("SHOW SCHEMAS FROM nope", "CATALOG_NOT_FOUND", "nope"),
    ("SHOW CATALOGS LIKE 'a' ESCAPE 'bc'", "INVALID_FUNCTION_ARGUMENT", "single character"),
    ("DESCRIBE tpch.tiny.nope", "TABLE_NOT_FOUND", "Table 'tpch.tiny.nope' does not exist"),
    ("SHOW CREATE TABLE tpch.tiny.nope", "TABLE_NOT_FOUND", "Table 'tpch.tiny.nope' does not exist"),
    ("SELECT * FROM a.b.c.d", "SYNTAX_ERROR", "Too many dots in table name"),
    ("SELECT 99999999999999999999", "INVALID_LITERAL", "Invalid numeric literal"),
    ("SELECT DATE '2020-02-30'", "INVALID_LITERAL", "2020-02-30"),
    ("SELECT X'0'", "SYNTAX_ERROR", "even number"),
    ("SELECT 1 / 0", "DIVISION_BY_ZERO", "Division by zero"),
    ("SELECT BIGINT '9223372036854775807' + BIGINT '1'", "NUMERIC_VALUE_OUT_OF_RANGE", ""),
    ("SELECT CAST('x' AS integer)", "INVALID_CAST_ARGUMENT", "Cannot cast"),
    ("SELECT CAST(1 AS morse)", ANY_USER_ERROR, "type morse"),
    ("SELECT sum('a')", "TYPE_MISMATCH", ""),
    ("SELECT nope(1)", "FUNCTION_NOT_FOUND", "Function 'nope' not registered"),
    ("SELECT 1 WHERE 1", "TYPE_MISMATCH", ""),
    ("SELECT 1 LIMIT -1", ANY_USER_ERROR, "-"),
    ("SELECT 1 GROUP BY 2", ANY_USER_ERROR, "position 2"),
    ("SELECT 1 ORDER BY 2", ANY_USER_ERROR, "2"),
    ("VALUES (1, 2), (3)", "TYPE_MISMATCH", ""),
    ("SELECT (SELECT 1, 2)", "TYPE_MISMATCH", ""),
    ("SELECT (SELECT * FROM (VALUES 1, 2) AS t(x))", "SUBQUERY_MULTIPLE_ROWS", "multiple rows"),
    ("SELECT 1 UNION SELECT 1, 2", "TYPE_MISMATCH", "different number of"),
    ("CREATE SCHEMA tpch.mine", "NOT_SUPPORTED", "does not support creating schemas"),
    ("DROP SCHEMA hive.nope", "SCHEMA_NOT_FOUND", "nope"),
    ("DROP TABLE hive.nope.nope", "TABLE_NOT_FOUND", ""),
    ("CREATE TABLE hive.nope.t (a bigint)", "SCHEMA_NOT_FOUND", "nope"),
    ("INSERT INTO tpch.tiny.nation VALUES (1)", "NOT_SUPPORTED", ""),
    ("DELETE FROM tpch.tiny.nation", "NOT_SUPPORTED", ""),
    ("EXPLAIN SELEC 1", "SYNTAX_ERROR", "mismatched input 'SELEC'"),
    ("EXPLAIN (TYPE MORSE) SELECT 1", "SYNTAX_ERROR", "mismatched input 'MORSE'"),
];

pub fn cases() -> Vec<Case> {
    let case = |(sql, error, text): &(&'static str, &'static str, &'static str)| {
        Case::new(format!("statement: {sql}"), Request::statement(sql), Expected::Failed(error, text))
    };
    STATEMENTS.iter().map(case).collect()
}
