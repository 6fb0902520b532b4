//! SQL statements: parsing, analysis, and the errors they give.
