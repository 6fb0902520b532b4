//! Printing results, in the formats of Trino's command line.

use std::io::{self, Write};

use protocol::client::Column;
use serde_json::Value;

use super::OutputFormat;

/// Prints the rows of one result.
#[derive(Debug)]
pub struct Printer {
    format: OutputFormat,
    columns: Vec<Column>,
    /// Rows of formats that need to know all of them before the first can be printed.
    held: Vec<Vec<String>>,
    header_printed: bool,
    row_count: u64,
}

impl Printer {
    /// A printer of a result with these columns.
    pub fn new(format: OutputFormat, columns: Vec<Column>) -> Self {
        Printer { format, columns, held: Vec::new(), header_printed: false, row_count: 0 }
    }

    /// Prints rows, or holds them until the end.
    pub fn rows(&mut self, rows: &[Vec<Value>], out: &mut impl Write) -> io::Result<()> {
        self.header(out)?;
        for row in rows {
            self.row_count += 1;
            match self.format {
                OutputFormat::Null => {}
                OutputFormat::Aligned => {
                    let numeric = self.columns.iter().map(is_numeric);
                    self.held.push(row.iter().zip(numeric).map(|(value, _)| text(value, "NULL")).collect());
                }
                OutputFormat::Vertical => self.vertical(row, out)?,
                OutputFormat::Markdown => {
                    let cells: Vec<String> =
                        row.iter().map(|value| text(value, "NULL").replace('|', "&#124;")).collect();
                    writeln!(out, "| {} |", cells.join(" | "))?;
                }
                OutputFormat::Csv | OutputFormat::CsvHeader => {
                    writeln!(out, "{}", join(row.iter().map(|value| quoted(&text(value, ""))), ','))?;
                }
                OutputFormat::CsvUnquoted | OutputFormat::CsvHeaderUnquoted => {
                    writeln!(out, "{}", join(row.iter().map(|value| text(value, "")), ','))?;
                }
                OutputFormat::Tsv | OutputFormat::TsvHeader => {
                    writeln!(out, "{}", join(row.iter().map(|value| escaped(&text(value, ""))), '\t'))?;
                }
                OutputFormat::Json => self.json(row, out)?,
            }
        }
        Ok(())
    }

    /// Prints what was held.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.header(out)?;
        if self.format == OutputFormat::Aligned {
            self.aligned(out)?;
        }
        out.flush()
    }

    fn header(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::replace(&mut self.header_printed, true) {
            return Ok(());
        }
        let names = self.columns.iter().map(|column| column.name.clone());
        match self.format {
            OutputFormat::CsvHeader => writeln!(out, "{}", join(names.map(|name| quoted(&name)), ',')),
            OutputFormat::CsvHeaderUnquoted => writeln!(out, "{}", join(names, ',')),
            OutputFormat::TsvHeader => writeln!(out, "{}", join(names.map(|name| escaped(&name)), '\t')),
            OutputFormat::Markdown => {
                writeln!(out, "| {} |", names.collect::<Vec<_>>().join(" | "))?;
                let rules = self.columns.iter().map(|column| if is_numeric(column) { "---:" } else { "---" });
                writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))
            }
            _ => Ok(()),
        }
    }

    fn aligned(&self, out: &mut impl Write) -> io::Result<()> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let cells = self.held.iter().map(|row| row[at].chars().count());
                cells.chain([column.name.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: Vec<String>| format!(" {} ", cells.join(" | ")).trim_end().to_string();
        let names =
            self.columns.iter().zip(&widths).map(|(column, width)| format!("{:^width$}", column.name));
        writeln!(out, "{}", line(names.collect()))?;
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(out, "{}", rules.join("+"))?;
        for row in &self.held {
            let cells = row.iter().zip(&widths).zip(&self.columns).map(|((cell, width), column)| {
                if is_numeric(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            writeln!(out, "{}", line(cells.collect()))?;
        }
        writeln!(out, "({} row{})", self.row_count, if self.row_count == 1 { "" } else { "s" })
    }

    fn vertical(&self, row: &[Value], out: &mut impl Write) -> io::Result<()> {
        let width = self.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
        writeln!(out, "-[ RECORD {} ]{}", self.row_count, "-".repeat(width))?;
        for (column, value) in self.columns.iter().zip(row) {
            writeln!(out, "{:<width$} | {}", column.name, text(value, "NULL"))?;
        }
        Ok(())
    }

    fn json(&self, row: &[Value], out: &mut impl Write) -> io::Result<()> {
        // Names may repeat, which a map could not hold.
        let members: Vec<String> = self
            .columns
            .iter()
            .zip(row)
            .map(|(column, value)| format!("{}:{value}", Value::String(column.name.clone())))
            .collect();
        writeln!(out, "{{{}}}", members.join(","))
    }
}

fn is_numeric(column: &Column) -> bool {
    ["tinyint", "smallint", "integer", "bigint", "real", "double"].contains(&column.type_name.as_str())
        || column.type_name.starts_with("decimal")
}

fn join(cells: impl Iterator<Item = String>, separator: char) -> String {
    cells.collect::<Vec<_>>().join(&separator.to_string())
}

fn text(value: &Value, null: &str) -> String {
    match value {
        Value::Null => null.to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(format: OutputFormat) -> String {
        let column = |name: &str, type_name: &str| Column {
            name: name.into(),
            type_name: type_name.into(),
            type_signature: None,
        };
        let mut printer = Printer::new(format, vec![column("id", "bigint"), column("name", "varchar")]);
        let mut out = Vec::new();
        let rows = vec![vec![json!(1), json!("a\"b")], vec![json!(20), Value::Null]];
        printer.rows(&rows, &mut out).unwrap();
        printer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_format_prints_the_rows_as_trino_does() {
        for (format, expected) in [
            (OutputFormat::Aligned, " id | name\n----+------\n  1 | a\"b\n 20 | NULL\n(2 rows)\n"),
            (OutputFormat::Csv, "\"1\",\"a\"\"b\"\n\"20\",\"\"\n"),
            (OutputFormat::CsvHeaderUnquoted, "id,name\n1,a\"b\n20,\n"),
            (OutputFormat::TsvHeader, "id\tname\n1\ta\"b\n20\t\n"),
            (OutputFormat::Json, "{\"id\":1,\"name\":\"a\\\"b\"}\n{\"id\":20,\"name\":null}\n"),
            (OutputFormat::Markdown, "| id | name |\n| ---: | --- |\n| 1 | a\"b |\n| 20 | NULL |\n"),
            (
                OutputFormat::Vertical,
                "-[ RECORD 1 ]----\nid   | 1\nname | a\"b\n-[ RECORD 2 ]----\nid   | 20\nname | NULL\n",
            ),
            (OutputFormat::Null, ""),
        ] {
            assert_eq!(printed(format), expected, "{format:?}");
        }
    }
}
