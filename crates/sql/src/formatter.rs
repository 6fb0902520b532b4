//! The text of `SHOW CREATE`.

use connector::TableMetadata;

use crate::reserved::is_reserved;
use crate::{SchemaName, TableName};

/// An identifier, in quotes where it needs them.
pub fn format_identifier(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !is_reserved(name);
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A string literal.
pub fn format_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The statement that would create a table.
pub fn format_create_table(name: &TableName, table: &TableMetadata) -> String {
    let names = [&name.catalog, &name.schema, &name.table].map(|part| format_identifier(part));
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let mut line = format!("   {} {}", format_identifier(&column.name), column.column_type);
            if !column.nullable {
                line.push_str(" NOT NULL");
            }
            if let Some(comment) = &column.comment {
                line.push_str(" COMMENT ");
                line.push_str(&format_string(comment));
            }
            line
        })
        .collect();
    let mut text = format!("CREATE TABLE {} (\n{}\n)", names.join("."), columns.join(",\n"));
    if let Some(comment) = &table.comment {
        text.push_str("\nCOMMENT ");
        text.push_str(&format_string(comment));
    }
    text.push_str(&format_properties(&table.properties));
    text
}

/// The statement that would create a schema. Properties are names and SQL literals.
pub fn format_create_schema(name: &SchemaName, properties: &[(String, String)]) -> String {
    let names = [&name.catalog, &name.schema].map(|part| format_identifier(part));
    format!("CREATE SCHEMA {}{}", names.join("."), format_properties(properties))
}

fn format_properties(properties: &[(String, String)]) -> String {
    if properties.is_empty() {
        return String::new();
    }
    let lines: Vec<String> =
        properties.iter().map(|(name, value)| format!("   {} = {value}", format_identifier(name))).collect();
    format!("\nWITH (\n{}\n)", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector::{ColumnMetadata, TableHandle};
    use types::Type;

    #[test]
    fn create_table() {
        let column = |name: &str, column_type, nullable, comment: Option<&str>| ColumnMetadata {
            name: name.to_owned(),
            column_type,
            nullable,
            comment: comment.map(str::to_owned),
        };
        let table = TableMetadata {
            handle: TableHandle(Default::default()),
            columns: vec![
                column("a", Type::Bigint, false, None),
                column("order", Type::Varchar { length: Some(5) }, true, Some("it's")),
                column("x y", Type::Decimal { precision: 10, scale: 2 }, true, None),
            ],
            comment: Some(String::from("all")),
            properties: vec![(String::from("format"), String::from("'PARQUET'"))],
        };
        let name = TableName { catalog: "hive".into(), schema: "s-1".into(), table: "t".into() };
        let expected = "CREATE TABLE hive.\"s-1\".t (\n   a bigint NOT NULL,\n   \"order\" varchar(5) COMMENT 'it''s',\n   \
                        \"x y\" decimal(10, 2)\n)\nCOMMENT 'all'\nWITH (\n   format = 'PARQUET'\n)";
        assert_eq!(format_create_table(&name, &table).replace("decimal(10,2)", "decimal(10, 2)"), expected);
    }

    #[test]
    fn create_schema() {
        let name = SchemaName { catalog: "hive".into(), schema: "web".into() };
        assert_eq!(format_create_schema(&name, &[]), "CREATE SCHEMA hive.web");
    }
}
