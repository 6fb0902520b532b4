//! What the parser takes but Trino's grammar does not have.

use super::*;
use sqlparser::ast::{BinaryOperator, Distinct, Select, SelectFlavor, WildcardAdditionalOptions};

fn refuse(what: &str) -> Result<()> {
    Err(Error::new(ErrorCode::SYNTAX_ERROR, format!("mismatched input '{what}'. Expecting: <EOF>")))
}

pub(super) fn check_query(query: &ast::Query) -> Result<()> {
    if !query.locks.is_empty() || query.for_clause.is_some() {
        return refuse("FOR");
    }
    match &query.limit_clause {
        Some(LimitClause::OffsetCommaLimit { .. }) => refuse(","),
        Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty() => refuse("BY"),
        _ => Ok(()),
    }
}

pub(super) fn check_select(select: &Select) -> Result<()> {
    if select.qualify.is_some() {
        return refuse("QUALIFY");
    }
    if matches!(select.distinct, Some(Distinct::On(_))) {
        return refuse("ON");
    }
    if select.top.is_some() {
        return refuse("TOP");
    }
    if select.into.is_some() {
        return refuse("INTO");
    }
    if select.flavor != SelectFlavor::Standard {
        return refuse("FROM");
    }
    if select.prewhere.is_some() || !select.lateral_views.is_empty() || !select.connect_by.is_empty() {
        return refuse("WHERE");
    }
    for item in &select.projection {
        if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
            check_wildcard(options)?;
        }
    }
    Ok(())
}

/// A sample would be planned as the whole table.
pub(super) fn check_table_factor(factor: &TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
            Err(Error::not_supported("TABLESAMPLE is not supported"))
        }
        _ => Ok(()),
    }
}

fn check_wildcard(options: &WildcardAdditionalOptions) -> Result<()> {
    if options.opt_exclude.is_some() {
        return refuse("EXCLUDE");
    }
    if options.opt_except.is_some() {
        return refuse("EXCEPT");
    }
    if options.opt_replace.is_some() {
        return refuse("REPLACE");
    }
    if options.opt_rename.is_some() {
        return refuse("RENAME");
    }
    if options.opt_ilike.is_some() {
        return refuse("ILIKE");
    }
    Ok(())
}

pub(super) fn check_expression(expression: &Expr) -> Result<()> {
    match expression {
        Expr::ILike { .. } => refuse("ILIKE"),
        Expr::SimilarTo { .. } => refuse("SIMILAR"),
        Expr::RLike { .. } => refuse("RLIKE"),
        Expr::BinaryOp { op, .. } => match op {
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat
            | BinaryOperator::Gt
            | BinaryOperator::Lt
            | BinaryOperator::GtEq
            | BinaryOperator::LtEq
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::And
            | BinaryOperator::Or => Ok(()),
            other => refuse(&other.to_string()),
        },
        Expr::Cast { data_type, .. } => check_type(data_type),
        Expr::TypedString(typed) => check_type(&typed.data_type),
        _ => Ok(()),
    }
}

/// Names of types that are no types in Trino.
fn check_type(data_type: &DataType) -> Result<()> {
    let is_foreign = matches!(
        data_type,
        DataType::String(_)
            | DataType::Text
            | DataType::Int2(_)
            | DataType::Int4(_)
            | DataType::Int8(_)
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float4
            | DataType::Float8
            | DataType::Float32
            | DataType::Float64
            | DataType::Float(_)
            | DataType::Bytea
            | DataType::Blob(_)
            | DataType::Binary(_)
            | DataType::Nvarchar(_)
            | DataType::Numeric(_)
            | DataType::Datetime(_)
    );
    if is_foreign {
        let name = data_type.to_string().to_ascii_lowercase();
        return Err(Error::new(ErrorCode::TYPE_MISMATCH, format!("Unknown type: {name}")));
    }
    Ok(())
}
