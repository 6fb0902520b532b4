//! The functions there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use base::{Error, ErrorCode, Result};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{
    AggregateUDF, HigherOrderUDF, ScalarUDF, Signature, TypeSignature, Volatility, WindowUDF,
};
use sqlparser::ast::{self, Expr, Visit, Visitor};
use types::Type;

use crate::expr_planner::TrinoExprPlanner;
use crate::query::location;

/// The functions there are, by name and alias.
#[derive(Clone, Debug)]
pub struct Functions {
    pub(crate) scalar: BTreeMap<String, Arc<ScalarUDF>>,
    pub(crate) higher_order: BTreeMap<String, Arc<HigherOrderUDF>>,
    pub(crate) aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    pub(crate) window: BTreeMap<String, Arc<WindowUDF>>,
    pub(crate) planners: Vec<Arc<dyn ExprPlanner>>,
}

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionKind {
    /// One value for each row.
    Scalar,
    /// One value for many rows.
    Aggregate,
    /// One value for each row, from those around it.
    Window,
}

impl FunctionKind {
    /// The name in `SHOW FUNCTIONS`.
    pub fn as_str(self) -> &'static str {
        match self {
            FunctionKind::Scalar => "scalar",
            FunctionKind::Aggregate => "aggregate",
            FunctionKind::Window => "window",
        }
    }
}

/// A function as `SHOW FUNCTIONS` lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionInfo {
    /// The name.
    pub name: String,
    /// The type of its value.
    pub return_type: String,
    /// The types of its arguments, with commas between.
    pub argument_types: String,
    /// What it is.
    pub kind: FunctionKind,
    /// Whether equal arguments give equal values.
    pub deterministic: bool,
    /// What it does.
    pub description: String,
}

/// Functions that are expressions of their own in the planner behind this crate.
const SYNTAX_FUNCTIONS: [&str; 8] =
    ["unnest", "struct", "grouping", "array", "map", "current_timestamp", "current_date", "current_time"];

impl Default for Functions {
    fn default() -> Self {
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(TrinoExprPlanner)];
        planners.extend(SessionStateDefaults::default_expr_planners());
        let mut functions = Functions {
            scalar: BTreeMap::new(),
            higher_order: BTreeMap::new(),
            aggregate: BTreeMap::new(),
            window: BTreeMap::new(),
            planners,
        };
        for function in SessionStateDefaults::default_scalar_functions() {
            functions.add_scalar(function);
        }
        for function in SessionStateDefaults::default_higher_order_functions() {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str))
            {
                functions.higher_order.insert(name.to_lowercase(), Arc::clone(&function));
            }
        }
        for function in SessionStateDefaults::default_aggregate_functions() {
            functions.add_aggregate(function);
        }
        for function in SessionStateDefaults::default_window_functions() {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str))
            {
                functions.window.insert(name.to_lowercase(), Arc::clone(&function));
            }
        }
        functions
    }
}

impl Functions {
    /// Adds a scalar function, or replaces those of its names.
    pub fn add_scalar(&mut self, function: Arc<ScalarUDF>) {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            self.scalar.insert(name.to_lowercase(), Arc::clone(&function));
        }
    }

    /// Adds an aggregate function, or replaces those of its names.
    pub fn add_aggregate(&mut self, function: Arc<AggregateUDF>) {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            self.aggregate.insert(name.to_lowercase(), Arc::clone(&function));
        }
    }

    /// Whether there is a function of that name, in lower case.
    pub fn contains(&self, name: &str) -> bool {
        self.scalar.contains_key(name)
            || self.aggregate.contains_key(name)
            || self.window.contains_key(name)
            || self.higher_order.contains_key(name)
            || SYNTAX_FUNCTIONS.contains(&name)
    }

    pub(crate) fn is_aggregate(&self, name: &str) -> bool {
        self.aggregate.contains_key(name)
    }

    /// The functions for `SHOW FUNCTIONS`, ordered by name, return type and arguments. Without the patterns of
    /// arguments of which nothing is known.
    pub fn list(&self) -> Vec<FunctionInfo> {
        let mut list = BTreeSet::new();
        for (name, function) in &self.scalar {
            let description = function.documentation().map(|text| text.description.clone());
            add(&mut list, name, FunctionKind::Scalar, function.signature(), description, |arguments| {
                function.return_type(arguments).ok()
            });
        }
        for (name, function) in &self.aggregate {
            let description = function.documentation().map(|text| text.description.clone());
            add(&mut list, name, FunctionKind::Aggregate, function.signature(), description, |arguments| {
                function.return_type(arguments).ok()
            });
        }
        for (name, function) in &self.window {
            let description = function.documentation().map(|text| text.description.clone());
            add(&mut list, name, FunctionKind::Window, function.signature(), description, |_| None);
        }
        list.into_iter().collect()
    }

    /// Refuses calls of functions that do not exist.
    ///
    /// # Errors
    /// `FUNCTION_NOT_FOUND`, where the call stands.
    pub(crate) fn check_query(&self, query: &ast::Query) -> Result<()> {
        finish(query.visit(&mut CallChecker { functions: self }))
    }

    /// As [`Functions::check_query`], for an expression.
    pub(crate) fn check_expression(&self, expression: &Expr) -> Result<()> {
        finish(expression.visit(&mut CallChecker { functions: self }))
    }
}

fn finish(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn add(
    list: &mut BTreeSet<FunctionInfo>,
    name: &str,
    kind: FunctionKind,
    signature: &Signature,
    description: Option<String>,
    return_type: impl Fn(&[DataType]) -> Option<DataType>,
) {
    let description = description.unwrap_or_default();
    let summary = description.lines().next().unwrap_or_default().trim().to_owned();
    let mut examples = signature.type_signature.get_example_types();
    if examples.is_empty() {
        examples.push(Vec::new());
    }
    for arguments in examples {
        // A function that says nothing of its arguments may rely on having some.
        let is_known = !arguments.is_empty() || signature.type_signature == TypeSignature::Nullary;
        let return_type = if is_known { return_type(&arguments) } else { None };
        let names: Vec<String> =
            arguments.iter().map(|argument| Type::from_arrow(argument).to_string()).collect();
        list.insert(FunctionInfo {
            name: name.to_owned(),
            return_type: return_type.map_or_else(
                || String::from("unknown"),
                |data_type| Type::from_arrow(&data_type).to_string(),
            ),
            argument_types: names.join(", "),
            kind,
            deterministic: signature.volatility == Volatility::Immutable,
            description: summary.clone(),
        });
    }
}

struct CallChecker<'a> {
    functions: &'a Functions,
}

impl Visitor for CallChecker<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Error> {
        let Expr::Function(function) = expression else {
            return ControlFlow::Continue(());
        };
        let names: Vec<&ast::Ident> = function.name.0.iter().filter_map(|part| part.as_ident()).collect();
        let written = names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(".");
        if names.len() == 1 && self.functions.contains(&written) {
            return ControlFlow::Continue(());
        }
        let text = format!("Function '{written}' not registered");
        let error = Error::new(ErrorCode::FUNCTION_NOT_FOUND, text);
        ControlFlow::Break(match names.first().and_then(|name| location(name.span)) {
            Some(place) => error.at(place),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_types_and_kinds() {
        let list = Functions::default().list();
        assert!(list.is_sorted());
        let find = |name: &str| list.iter().filter(|info| info.name == name).collect::<Vec<_>>();
        assert!(find("count").iter().all(|info| info.kind == FunctionKind::Aggregate));
        assert!(find("row_number").iter().all(|info| info.kind == FunctionKind::Window));
        assert!(find("random").iter().all(|info| !info.deterministic));
        assert!(!find("abs").is_empty());
        assert!(list.len() > 300);
    }
}
