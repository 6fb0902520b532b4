//! Names of output columns: Trino allows the same name twice, and none at all.
//!
//! The planner behind this crate wants every column of a projection to have a name of its own. So columns without a
//! name, and all columns of the outermost `SELECT`, get an alias `#n` or `#n#label`, and [`label`] reads from it what
//! the user sees.

use std::collections::HashSet;
use std::ops::ControlFlow;

use base::{Error, ErrorCode, Result};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    self, Expr, GroupByExpr, Ident, OrderByKind, Select, SelectFlavor, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Values, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use crate::query::location;
use crate::rewrite::function_name;
use crate::{Functions, Query};

/// What the user sees of the name of column `index` (from 0).
pub(crate) fn label(internal: &str, index: usize) -> String {
    let Some(rest) = internal.strip_prefix('#') else {
        return internal.to_owned();
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match (digits, rest[digits..].strip_prefix('#')) {
        (1.., Some(label)) => label.to_owned(),
        (1.., None) if digits == rest.len() => format!("_col{index}"),
        _ => internal.to_owned(),
    }
}

/// The label without the `:n` that a subquery's alias gives to the second of two columns of the same name.
pub(crate) fn without_counter(label: &str) -> &str {
    match label.rsplit_once(':') {
        Some((name, counter)) if !counter.is_empty() && counter.bytes().all(|byte| byte.is_ascii_digit()) => {
            name
        }
        _ => label,
    }
}

/// Gives the columns of a query's select lists the names they need. Labels are taken from the text of `query`.
///
/// # Errors
/// `AMBIGUOUS_NAME` for an `ORDER BY` that names two output columns.
pub(crate) fn assign(
    mut ast: Box<ast::Query>,
    query: &Query,
    functions: &Functions,
) -> Result<Box<ast::Query>> {
    let mut namer = Namer { query, functions, count: 0 };
    if let ControlFlow::Break(error) = ast.visit(&mut namer) {
        return Err(error);
    }
    namer.name_query(&mut ast, Level::Outermost)?;
    Ok(ast)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The columns go to the user.
    Outermost,
    /// The columns go to another query, which names them.
    Inner,
}

struct Namer<'a> {
    query: &'a Query,
    functions: &'a Functions,
    count: usize,
}

impl VisitorMut for Namer<'_> {
    type Break = Error;

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        let tables = query.with.iter_mut().flat_map(|with| with.cte_tables.iter_mut());
        for table in tables {
            if let Err(error) = self.name_query(&mut table.query, Level::Inner) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Derived { subquery, .. } = factor
            && let Err(error) = self.name_query(subquery, Level::Inner)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }
}

/// An item of a select list after naming.
struct Output {
    /// The expression, if the item is no wildcard.
    expression: Expr,
    /// The name that Trino gives it, in lower case.
    name: Option<String>,
    /// Whether the name is the user's own.
    has_alias: bool,
    /// The name it has now.
    alias: Ident,
}

impl Namer<'_> {
    fn name_query(&mut self, query: &mut ast::Query, level: Level) -> Result<()> {
        let outputs = self.name_body(&mut query.body, level)?;
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(expressions) = &mut order_by.kind
        {
            for ordering in expressions {
                self.point_to_outputs(&mut ordering.expr, &outputs)?;
            }
        }
        Ok(())
    }

    /// The outputs are those of the leftmost query. Chains of set operations may be long: they are not recursed into.
    fn name_body(&mut self, body: &mut SetExpr, level: Level) -> Result<Vec<Output>> {
        let mut current = body;
        loop {
            match current {
                SetExpr::SetOperation { left, right, .. } => {
                    self.name_body(right, level)?;
                    current = left;
                }
                leaf => return self.name_leaf(leaf, level),
            }
        }
    }

    fn name_leaf(&mut self, body: &mut SetExpr, level: Level) -> Result<Vec<Output>> {
        match body {
            SetExpr::Select(select) => Ok(self.name_items(&mut select.projection, level)),
            SetExpr::Query(query) => {
                self.name_query(query, level)?;
                Ok(Vec::new())
            }
            SetExpr::Values(values) => {
                let width = values.rows.first().map_or(0, |row| row.content.len());
                let columns = (0..width).map(|_| self.fresh(None)).collect();
                let values = std::mem::replace(values, empty_values());
                *body = select_from_values(values, columns);
                Ok(Vec::new())
            }
            SetExpr::SetOperation { .. }
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => Ok(Vec::new()),
        }
    }

    fn fresh(&mut self, label: Option<&str>) -> Ident {
        let number = self.count;
        self.count += 1;
        let name = match label {
            Some(label) => format!("#{number}#{label}"),
            None => format!("#{number}"),
        };
        Ident::with_quote('"', name)
    }

    fn name_items(&mut self, items: &mut [SelectItem], level: Level) -> Vec<Output> {
        let mut taken = HashSet::new();
        let has_wildcard = items
            .iter()
            .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        let mut outputs = Vec::new();
        for item in items {
            let (expression, name, has_alias) = match item {
                SelectItem::UnnamedExpr(expression) => {
                    (expression.clone(), own_name(expression).cloned(), false)
                }
                SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), Some(alias.clone()), true),
                _ => continue,
            };
            let lower = name.as_ref().map(|name| name.value.clone());
            let is_new = lower.clone().is_none_or(|name| taken.insert(name));
            let keeps_name = level == Level::Inner && lower.is_some() && (is_new || has_wildcard);
            let alias = match (&name, keeps_name) {
                (Some(name), true) => name.clone(),
                (Some(name), false) => self.fresh(Some(&self.query.written(name))),
                (None, _) => self.fresh(None),
            };
            if !keeps_name {
                *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias: alias.clone() };
            }
            outputs.push(Output { expression, name: lower, has_alias, alias });
        }
        outputs
    }

    /// Makes an `ORDER BY` refer to the output columns by the names they have now.
    fn point_to_outputs(&self, expression: &mut Expr, outputs: &[Output]) -> Result<()> {
        if matches!(expression, Expr::Value(_)) {
            return Ok(());
        }
        if let Some(output) = find_output(expression, outputs)? {
            *expression = Expr::Identifier(output.alias.clone());
            return Ok(());
        }
        match expression {
            Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } | Expr::Cast { expr: inner, .. } => {
                self.point_to_outputs(inner, outputs)
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => self.point_to_outputs(inner, outputs),
            Expr::BinaryOp { left, right, .. } => {
                self.point_to_outputs(left, outputs)?;
                self.point_to_outputs(right, outputs)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                for inner in operand.iter_mut().chain(else_result) {
                    self.point_to_outputs(inner, outputs)?;
                }
                for when in conditions {
                    self.point_to_outputs(&mut when.condition, outputs)?;
                    self.point_to_outputs(&mut when.result, outputs)?;
                }
                Ok(())
            }
            // The arguments of an aggregate are columns of the rows it is computed from.
            Expr::Function(function) => {
                if function_name(function).is_some_and(|name| self.functions.is_aggregate(name)) {
                    return Ok(());
                }
                if let ast::FunctionArguments::List(list) = &mut function.args {
                    for argument in &mut list.args {
                        if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(inner)) = argument {
                            self.point_to_outputs(inner, outputs)?;
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn find_output<'a>(expression: &Expr, outputs: &'a [Output]) -> Result<Option<&'a Output>> {
    if let Expr::Identifier(name) = expression {
        let mut named = outputs.iter().filter(|output| output.name.as_ref() == Some(&name.value));
        return match (named.next(), named.next()) {
            (Some(_), Some(_)) => {
                let error =
                    Error::new(ErrorCode::AMBIGUOUS_NAME, format!("Column '{}' is ambiguous", name.value));
                Err(match location(name.span) {
                    Some(place) => error.at(place),
                    None => error,
                })
            }
            (found, _) => Ok(found),
        };
    }
    if let Some(same) = outputs.iter().find(|output| output.expression == *expression) {
        return Ok(Some(same));
    }
    // `SELECT a FROM t ORDER BY t.a`
    if let Expr::CompoundIdentifier(names) = expression
        && let Some(last) = names.last()
    {
        let mut named = outputs.iter().filter(|output| {
            !output.has_alias
                && output.name.as_ref() == Some(&last.value)
                && matches!(output.expression, Expr::Identifier(_))
        });
        if let (Some(found), None) = (named.next(), named.next()) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The name that an expression gives its column.
fn own_name(expression: &Expr) -> Option<&Ident> {
    match expression {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        Expr::Nested(inner) => own_name(inner),
        _ => None,
    }
}

fn empty_values() -> Values {
    Values { explicit_row: false, value_keyword: false, rows: Vec::new() }
}

/// `SELECT * FROM (VALUES …) AS "#"(columns)`
fn select_from_values(values: Values, columns: Vec<Ident>) -> SetExpr {
    let subquery = ast::Query {
        with: None,
        body: Box::new(SetExpr::Values(values)),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    };
    let alias = TableAlias {
        explicit: true,
        name: Ident::with_quote('"', "#"),
        columns: columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect(),
        at: None,
    };
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(subquery),
        alias: Some(alias),
        sample: None,
    };
    SetExpr::Select(Box::new(Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())],
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }))
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn labels() {
        for (internal, index, expected) in [
            ("#0", 0, "_col0"),
            ("#7", 2, "_col2"),
            ("#1#Total", 1, "Total"),
            ("#1#", 1, ""),
            ("#1##x", 1, "#x"),
            ("name", 1, "name"),
            ("#name", 1, "#name"),
            ("#1x", 1, "#1x"),
            ("#", 1, "#"),
        ] {
            assert_eq!(label(internal, index), expected, "{internal}");
        }
    }
}
