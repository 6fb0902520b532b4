//! `START TRANSACTION`, `COMMIT` and `ROLLBACK`.

use base::Result;

use super::StatementParser;
use crate::{IsolationLevel, Statement};

impl StatementParser<'_> {
    pub(super) fn start_transaction(&mut self) -> Result<Statement> {
        self.cursor.skip(1);
        self.cursor.expect("TRANSACTION")?;
        let mut isolation_level = None;
        let mut read_only = false;
        if !self.cursor.is_end() {
            loop {
                if self.cursor.accept("ISOLATION") {
                    self.cursor.expect("LEVEL")?;
                    isolation_level = Some(self.isolation_level()?);
                } else if self.cursor.accept("READ") {
                    match self.cursor.accept_any(&["ONLY", "WRITE"]) {
                        Some(mode) => read_only = mode == "ONLY",
                        None => return Err(self.cursor.mismatch()),
                    }
                } else {
                    return Err(self.cursor.mismatch());
                }
                if !self.cursor.accept_symbol(",") {
                    break;
                }
            }
        }
        Ok(Statement::StartTransaction { isolation_level, read_only })
    }

    fn isolation_level(&mut self) -> Result<IsolationLevel> {
        if self.cursor.accept("SERIALIZABLE") {
            return Ok(IsolationLevel::Serializable);
        }
        if self.cursor.accept("REPEATABLE") {
            self.cursor.expect("READ")?;
            return Ok(IsolationLevel::RepeatableRead);
        }
        self.cursor.expect("READ")?;
        match self.cursor.accept_any(&["UNCOMMITTED", "COMMITTED"]) {
            Some("UNCOMMITTED") => Ok(IsolationLevel::ReadUncommitted),
            Some(_) => Ok(IsolationLevel::ReadCommitted),
            None => Err(self.cursor.mismatch()),
        }
    }

    pub(super) fn end_transaction(&mut self, statement: Statement) -> Result<Statement> {
        self.cursor.skip(1);
        self.cursor.accept("WORK");
        Ok(statement)
    }
}
