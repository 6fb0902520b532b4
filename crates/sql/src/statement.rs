//! The statements there are.

use base::{ErrorLocation, Result};
use types::Type;

use crate::{Expression, LikePattern, QualifiedName, Query};

/// A statement.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `SELECT`, `WITH`, `VALUES`, `TABLE`
    Query(Box<Query>),
    /// `EXPLAIN …`
    Explain(Explain),
    /// `USE [catalog.]schema`
    Use {
        /// The catalog, if named.
        catalog: Option<String>,
        /// The schema.
        schema: String,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `SHOW CATALOGS`
    ShowCatalogs {
        /// `LIKE`
        like: Option<Like>,
    },
    /// `SHOW SCHEMAS`
    ShowSchemas {
        /// `FROM catalog`
        catalog: Option<String>,
        /// `LIKE`
        like: Option<Like>,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `SHOW TABLES`
    ShowTables {
        /// `FROM [catalog.]schema`
        schema: Option<QualifiedName>,
        /// `LIKE`
        like: Option<Like>,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `SHOW COLUMNS FROM table`, `DESCRIBE table`
    ShowColumns {
        /// The table.
        table: QualifiedName,
        /// `LIKE`
        like: Option<Like>,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `SHOW SESSION`
    ShowSession {
        /// `LIKE`
        like: Option<Like>,
    },
    /// `SHOW FUNCTIONS`
    ShowFunctions {
        /// `FROM [catalog.]schema`
        schema: Option<QualifiedName>,
        /// `LIKE`
        like: Option<Like>,
    },
    /// `SHOW CREATE TABLE table`
    ShowCreateTable {
        /// The table.
        table: QualifiedName,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `SHOW CREATE SCHEMA schema`
    ShowCreateSchema {
        /// The schema.
        schema: QualifiedName,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `SET SESSION [catalog.]name = value`
    SetSession {
        /// The property, with its catalog if it has one.
        name: QualifiedName,
        /// Its value, a constant.
        value: Expression,
    },
    /// `RESET SESSION [catalog.]name`
    ResetSession {
        /// The property, with its catalog if it has one.
        name: QualifiedName,
    },
    /// `PREPARE name FROM statement`
    Prepare {
        /// The name, in lower case.
        name: String,
        /// The text of the statement, which [`crate::parse_with_parameters`] reads.
        text: String,
        /// The statement, with its parameters open.
        statement: Box<Statement>,
    },
    /// `EXECUTE name [USING …]`
    Execute {
        /// The name, in lower case.
        name: String,
        /// The parameters.
        parameters: Vec<Expression>,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `EXECUTE IMMEDIATE 'text' [USING …]`
    ExecuteImmediate {
        /// The statement, with its parameters filled in.
        statement: Box<Statement>,
    },
    /// `DEALLOCATE PREPARE name`
    Deallocate {
        /// The name, in lower case.
        name: String,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `DESCRIBE INPUT name`
    DescribeInput {
        /// The name, in lower case.
        name: String,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `DESCRIBE OUTPUT name`
    DescribeOutput {
        /// The name, in lower case.
        name: String,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `CREATE SCHEMA`
    CreateSchema {
        /// The schema.
        schema: QualifiedName,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// `WITH (…)`
        properties: Vec<Property>,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `DROP SCHEMA`
    DropSchema {
        /// The schema.
        schema: QualifiedName,
        /// `IF EXISTS`
        if_exists: bool,
        /// `CASCADE`
        cascade: bool,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `CREATE TABLE`
    CreateTable {
        /// The table.
        table: QualifiedName,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// The columns in order.
        columns: Vec<ColumnDefinition>,
        /// `COMMENT`
        comment: Option<String>,
        /// `WITH (…)`
        properties: Vec<Property>,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `DROP TABLE`
    DropTable {
        /// The table.
        table: QualifiedName,
        /// `IF EXISTS`
        if_exists: bool,
        /// Where the statement starts.
        location: ErrorLocation,
    },
    /// `START TRANSACTION`
    StartTransaction {
        /// `ISOLATION LEVEL`
        isolation_level: Option<IsolationLevel>,
        /// `READ ONLY`
        read_only: bool,
    },
    /// `COMMIT [WORK]`
    Commit,
    /// `ROLLBACK [WORK]`
    Rollback,
    /// `SET TIME ZONE`
    SetTimeZone {
        /// The zone, a constant. None: `LOCAL`.
        zone: Option<Expression>,
    },
}

impl Statement {
    /// What the client is told a statement without rows did: the protocol's `updateType`.
    pub fn update_type(&self) -> Option<&'static str> {
        match self {
            Statement::Use { .. } => Some("USE"),
            Statement::SetSession { .. } => Some("SET SESSION"),
            Statement::ResetSession { .. } => Some("RESET SESSION"),
            Statement::Prepare { .. } => Some("PREPARE"),
            Statement::Deallocate { .. } => Some("DEALLOCATE"),
            Statement::CreateSchema { .. } => Some("CREATE SCHEMA"),
            Statement::DropSchema { .. } => Some("DROP SCHEMA"),
            Statement::CreateTable { .. } => Some("CREATE TABLE"),
            Statement::DropTable { .. } => Some("DROP TABLE"),
            Statement::StartTransaction { .. } => Some("START TRANSACTION"),
            Statement::Commit => Some("COMMIT"),
            Statement::Rollback => Some("ROLLBACK"),
            Statement::SetTimeZone { .. } => Some("SET TIME ZONE"),
            Statement::ExecuteImmediate { statement } => statement.update_type(),
            Statement::Query(_)
            | Statement::Explain(_)
            | Statement::ShowCatalogs { .. }
            | Statement::ShowSchemas { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowSession { .. }
            | Statement::ShowFunctions { .. }
            | Statement::ShowCreateTable { .. }
            | Statement::ShowCreateSchema { .. }
            | Statement::Execute { .. }
            | Statement::DescribeInput { .. }
            | Statement::DescribeOutput { .. } => None,
        }
    }
}

/// `EXPLAIN …`
#[derive(Clone, Debug)]
pub struct Explain {
    /// `ANALYZE`: runs the statement.
    pub analyze: bool,
    /// `VERBOSE`
    pub verbose: bool,
    /// `TYPE`
    pub explain_type: ExplainType,
    /// `FORMAT`
    pub format: ExplainFormat,
    /// What is explained.
    pub statement: Box<Statement>,
}

/// What `EXPLAIN` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExplainType {
    /// The plan before it is cut.
    Logical,
    /// The fragments.
    #[default]
    Distributed,
    /// Whether the statement is valid.
    Validate,
    /// What is read and written.
    Io,
}

/// The form in which `EXPLAIN` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExplainFormat {
    /// Text.
    #[default]
    Text,
    /// JSON.
    Json,
    /// Graphviz.
    Graphviz,
}

/// `LIKE 'pattern' [ESCAPE 'character']`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Like {
    /// The pattern.
    pub pattern: String,
    /// The escape character, if there is one.
    pub escape: Option<String>,
}

impl Like {
    /// What finds the names.
    ///
    /// # Errors
    /// See [`LikePattern::new`].
    pub fn matcher(&self) -> Result<LikePattern> {
        LikePattern::new(&self.pattern, self.escape.as_deref())
    }
}

/// A property in `WITH (…)`.
#[derive(Clone, Debug)]
pub struct Property {
    /// The name, in lower case.
    pub name: String,
    /// The value, a constant. None: `DEFAULT`.
    pub value: Option<Expression>,
    /// Where the property starts.
    pub location: ErrorLocation,
}

/// A column of `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// The name, in lower case.
    pub name: String,
    /// The type.
    pub column_type: Type,
    /// Whether values may be NULL.
    pub nullable: bool,
    /// `COMMENT`
    pub comment: Option<String>,
    /// Where the column starts.
    pub location: ErrorLocation,
}

/// How far a transaction is kept apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    /// `READ UNCOMMITTED`
    ReadUncommitted,
    /// `READ COMMITTED`
    ReadCommitted,
    /// `REPEATABLE READ`
    RepeatableRead,
    /// `SERIALIZABLE`
    Serializable,
}
