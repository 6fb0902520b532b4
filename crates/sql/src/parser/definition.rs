//! `CREATE` and `DROP`.

use base::{Error, ErrorCode, ErrorLocation, Result};
use types::Type;

use super::{StatementParser, not_supported};
use crate::Statement;
use crate::lexer::TokenKind;
use crate::statement::{ColumnDefinition, Property};

/// What else can be created and dropped in Trino.
const OTHER_OBJECTS: [&str; 7] = ["VIEW", "MATERIALIZED", "ROLE", "FUNCTION", "CATALOG", "BRANCH", "OR"];

impl StatementParser<'_> {
    pub(super) fn create(&mut self, location: ErrorLocation) -> Result<Statement> {
        self.cursor.skip(1);
        match self.cursor.accept_any(&["TABLE", "SCHEMA"]) {
            Some("TABLE") => self.create_table(location),
            Some(_) => {
                let if_not_exists = self.if_not_exists()?;
                let schema = self.cursor.qualified_name()?;
                if self.cursor.accept("AUTHORIZATION") {
                    return Err(not_supported("CREATE SCHEMA AUTHORIZATION", location));
                }
                let properties = self.properties()?;
                Ok(Statement::CreateSchema { schema, if_not_exists, properties, location })
            }
            None => self.other_object("CREATE", location),
        }
    }

    pub(super) fn drop(&mut self, location: ErrorLocation) -> Result<Statement> {
        self.cursor.skip(1);
        match self.cursor.accept_any(&["TABLE", "SCHEMA"]) {
            Some("TABLE") => {
                let if_exists = self.if_exists()?;
                Ok(Statement::DropTable { table: self.cursor.qualified_name()?, if_exists, location })
            }
            Some(_) => {
                let if_exists = self.if_exists()?;
                let schema = self.cursor.qualified_name()?;
                let cascade = self.cursor.accept_any(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
                Ok(Statement::DropSchema { schema, if_exists, cascade, location })
            }
            None => self.other_object("DROP", location),
        }
    }

    fn other_object(&mut self, verb: &str, location: ErrorLocation) -> Result<Statement> {
        match self.cursor.accept_any(&OTHER_OBJECTS) {
            Some("OR") => Err(not_supported(&format!("{verb} OR REPLACE"), location)),
            Some(what) => Err(not_supported(&format!("{verb} {what}"), location)),
            None => Err(self.cursor.mismatch()),
        }
    }

    fn if_not_exists(&mut self) -> Result<bool> {
        let found = self.cursor.accept("IF");
        if found {
            self.cursor.expect("NOT")?;
            self.cursor.expect("EXISTS")?;
        }
        Ok(found)
    }

    fn if_exists(&mut self) -> Result<bool> {
        let found = self.cursor.accept("IF");
        if found {
            self.cursor.expect("EXISTS")?;
        }
        Ok(found)
    }

    fn create_table(&mut self, location: ErrorLocation) -> Result<Statement> {
        let if_not_exists = self.if_not_exists()?;
        let table = self.cursor.qualified_name()?;
        if !self.cursor.accept_symbol("(") {
            return match self.cursor.accept_any(&["AS", "COMMENT", "WITH"]) {
                Some(_) => Err(not_supported("CREATE TABLE AS", location)),
                None => Err(self.cursor.mismatch()),
            };
        }
        let mut columns: Vec<ColumnDefinition> = Vec::new();
        loop {
            let column_location = self.cursor.location();
            if self.cursor.accept("LIKE") {
                return Err(not_supported("CREATE TABLE with LIKE", column_location));
            }
            let column = self.column(column_location)?;
            if columns.iter().any(|other| other.name == column.name) {
                let text = format!("Column name '{}' specified more than once", column.name);
                return Err(Error::new(ErrorCode::DUPLICATE_COLUMN_NAME, text).at(column_location));
            }
            columns.push(column);
            if !self.cursor.accept_symbol(",") {
                break;
            }
        }
        self.cursor.expect_symbol(")")?;
        let comment = self.comment()?;
        let properties = self.properties()?;
        if self.cursor.accept("AS") {
            return Err(not_supported("CREATE TABLE AS", location));
        }
        Ok(Statement::CreateTable { table, if_not_exists, columns, comment, properties, location })
    }

    fn column(&mut self, location: ErrorLocation) -> Result<ColumnDefinition> {
        let name = self.cursor.identifier()?;
        let column_type = self.column_type(&name)?;
        let mut nullable = true;
        if self.cursor.accept("DEFAULT") {
            return Err(not_supported("DEFAULT of a column", location));
        }
        if self.cursor.accept("NOT") {
            self.cursor.expect("NULL")?;
            nullable = false;
        }
        let comment = self.comment()?;
        if self.cursor.accept("WITH") {
            return Err(not_supported("WITH of a column", location));
        }
        Ok(ColumnDefinition { name, column_type, nullable, comment, location })
    }

    /// A type: words and brackets up to what may follow it in a column definition.
    fn column_type(&mut self, column: &str) -> Result<Type> {
        let location = self.cursor.location();
        let first = self.cursor.token();
        if !matches!(first.kind, TokenKind::Word | TokenKind::QuotedIdentifier(_)) {
            return Err(self.cursor.mismatch_with("<type>"));
        }
        let mut depth = 0_usize;
        let mut text = String::new();
        loop {
            let token = self.cursor.token();
            let ends_type = match &token.kind {
                TokenKind::End => true,
                TokenKind::Symbol("," | ")") if depth == 0 => true,
                TokenKind::Word if depth == 0 => {
                    let is_zone = token.is_word("WITH") && self.cursor.ahead(1).is_word("TIME");
                    ["NOT", "COMMENT", "DEFAULT"].iter().any(|word| token.is_word(word))
                        || (token.is_word("WITH") && !is_zone)
                }
                _ => false,
            };
            if ends_type {
                break;
            }
            match &token.kind {
                TokenKind::Symbol("(") => depth += 1,
                TokenKind::Symbol(")") => depth = depth.saturating_sub(1),
                _ => {}
            }
            let glued = matches!(token.kind, TokenKind::Symbol(_)) || text.is_empty() || text.ends_with('(');
            if !glued {
                text.push(' ');
            }
            text.push_str(&token.text);
            self.cursor.skip(1);
        }
        text.parse::<Type>().map_err(|_| {
            let message = format!("Unknown type '{text}' for column '{column}'");
            Error::new(ErrorCode::TYPE_NOT_FOUND, message).at(location)
        })
    }

    fn comment(&mut self) -> Result<Option<String>> {
        if self.cursor.accept("COMMENT") { Ok(Some(self.cursor.string()?)) } else { Ok(None) }
    }

    fn properties(&mut self) -> Result<Vec<Property>> {
        if !self.cursor.accept("WITH") {
            return Ok(Vec::new());
        }
        self.cursor.expect_symbol("(")?;
        let mut properties: Vec<Property> = Vec::new();
        loop {
            let location = self.cursor.location();
            let name = self.cursor.identifier()?;
            self.cursor.expect_symbol("=")?;
            let value = if self.cursor.accept("DEFAULT") { None } else { Some(self.expression()?) };
            if properties.iter().any(|other| other.name == name) {
                let text = format!("Duplicate property: {name}");
                return Err(Error::new(ErrorCode::DUPLICATE_PROPERTY, text).at(location));
            }
            properties.push(Property { name, value, location });
            if !self.cursor.accept_symbol(",") {
                break;
            }
        }
        self.cursor.expect_symbol(")")?;
        Ok(properties)
    }
}
