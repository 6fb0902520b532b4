//! A tree of joins taken apart into what is joined and what must hold.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::common::{Column, JoinType, NullEquality, Result, TableReference};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::{can_hash, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, Operator, Projection};

use super::order::{Mask, OPERANDS_MAX, Tree, is_within};
use crate::stack::on_enough_stack;

/// What is joined, and how it was written.
#[derive(Debug, Default)]
pub(crate) struct JoinGraph {
    pub(crate) operands: Vec<Operand>,
    /// Columns that equal each other in every row of the result.
    pub(crate) classes: Vec<Vec<Member>>,
    /// What else must hold.
    pub(super) conditions: Vec<Condition>,
    names: HashMap<Name, Member>,
}

type Name = (Option<TableReference>, String);

/// Something that is joined.
#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) plan: LogicalPlan,
    /// None: its rows are part of the result.
    pub(crate) filter: Option<FilterJoin>,
}

/// A semi, anti or mark join whose right side is the operand.
#[derive(Debug)]
pub(crate) struct FilterJoin {
    pub(crate) join_type: JoinType,
    /// Pairs of keys: of the rows that are kept or not, and of the operand.
    pub(crate) on: Vec<(Expr, Expr)>,
    pub(super) filter: Option<Expr>,
    pub(crate) null_equality: NullEquality,
    /// The column that a mark join adds.
    mark: Option<Name>,
}

/// A column of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) operand: usize,
    /// Its place in the operand's schema.
    pub(crate) column: usize,
}

/// A condition that is no equality of two columns.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) expr: Expr,
    /// The operands whose columns it uses.
    pub(super) operands: Mask,
    /// If it is an equality that can be a pair of keys: its sides and their operands.
    pub(super) keys: Option<[(Expr, Mask); 2]>,
}

/// Whether the operator is one whose rows can be joined in another order.
pub(super) fn is_join(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => is_movable(join),
        LogicalPlan::Filter(filter) => !filter.predicate.is_volatile() && is_join(&filter.input),
        LogicalPlan::Projection(projection) => is_transparent(projection) && is_join(&projection.input),
        _ => false,
    }
}

fn is_movable(join: &Join) -> bool {
    let volatile = join.on.iter().any(|(one, other)| one.is_volatile() || other.is_volatile())
        || join.filter.as_ref().is_some_and(Expr::is_volatile);
    let nulls_differ = join.null_equality == NullEquality::NullEqualsNothing || join.on.is_empty();
    match join.join_type {
        JoinType::Inner => !volatile && nulls_differ,
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            // Without keys it is a nested loop, and whether NULL was seen is known at the end only.
            !volatile && !join.null_aware && !join.on.is_empty()
        }
        _ => false,
    }
}

fn mark_of(join: &Join) -> Option<Name> {
    let (qualifier, field) = join.schema.iter().last().filter(|_| join.join_type == JoinType::LeftMark)?;
    Some((qualifier.cloned(), field.name().clone()))
}

/// Whether a projection only leaves columns out.
fn is_transparent(projection: &Projection) -> bool {
    let fields = projection.schema.iter();
    projection.expr.iter().zip(fields).all(|(expr, (qualifier, field))| {
        matches!(expr, Expr::Column(column)
            if column.relation.as_ref() == qualifier && column.name == *field.name())
    })
}

impl JoinGraph {
    /// Takes a tree apart. None if that cannot be done.
    pub(super) fn of(plan: &LogicalPlan) -> Result<Option<(Self, Tree)>> {
        let mut graph = JoinGraph::default();
        let mut predicates = Vec::new();
        let tree = graph.take(plan, &mut predicates);
        if graph.operands.len() > OPERANDS_MAX || !graph.name_columns() {
            return Ok(None);
        }
        for (expr, keys) in predicates {
            if !graph.require(expr, keys)? {
                return Ok(None);
            }
        }
        let filters_fit = graph.operands.iter().all(|operand| match &operand.filter {
            Some(filter) => graph.filter_fits(operand, filter),
            None => true,
        });
        Ok(filters_fit.then_some((graph, tree)))
    }

    fn take(&mut self, plan: &LogicalPlan, predicates: &mut Vec<(Expr, bool)>) -> Tree {
        match plan {
            LogicalPlan::Projection(projection) if is_join(plan) => self.take(&projection.input, predicates),
            LogicalPlan::Filter(filter) if is_join(plan) => {
                let all = split_conjunction_owned(filter.predicate.clone());
                predicates.extend(all.into_iter().map(|expr| (expr, false)));
                self.take(&filter.input, predicates)
            }
            LogicalPlan::Join(join) if is_movable(join) => {
                let left = Box::new(on_enough_stack(|| self.take(&join.left, predicates)));
                if join.join_type != JoinType::Inner {
                    let filter = FilterJoin {
                        join_type: join.join_type,
                        on: join.on.clone(),
                        filter: join.filter.clone(),
                        null_equality: join.null_equality,
                        mark: mark_of(join),
                    };
                    let plan = join.right.as_ref().clone();
                    self.operands.push(Operand { plan, filter: Some(filter) });
                    return Tree::Filtered(left, self.operands.len() - 1);
                }
                let right = Box::new(on_enough_stack(|| self.take(&join.right, predicates)));
                let equal = |(one, other): &(Expr, Expr)| (one.clone().eq(other.clone()), true);
                predicates.extend(join.on.iter().map(equal));
                let filters = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
                predicates.extend(filters.into_iter().map(|expr| (expr, false)));
                Tree::Join(left, right)
            }
            other => {
                self.operands.push(Operand { plan: other.clone(), filter: None });
                Tree::Leaf(self.operands.len() - 1)
            }
        }
    }

    /// Gives every column its operand. False if two have the same name.
    fn name_columns(&mut self) -> bool {
        let mut hidden = Vec::new();
        for (number, operand) in self.operands.iter().enumerate() {
            for (at, (qualifier, field)) in operand.plan.schema().iter().enumerate() {
                let name = (qualifier.cloned(), field.name().clone());
                let member = Member { operand: number, column: at };
                if operand.filter.is_some() {
                    hidden.push(name);
                } else if self.names.insert(name, member).is_some() {
                    return false;
                }
            }
            if let Some(mark) = operand.filter.as_ref().and_then(|filter| filter.mark.clone()) {
                let member = Member { operand: number, column: operand.plan.schema().fields().len() };
                if self.names.insert(mark, member).is_some() {
                    return false;
                }
            }
        }
        hidden.iter().all(|name| !self.names.contains_key(name))
    }

    /// The column of that name.
    pub(crate) fn member(&self, column: &Column) -> Option<Member> {
        self.names.get(&(column.relation.clone(), column.name.clone())).copied()
    }

    /// The column as an expression.
    pub(crate) fn column(&self, member: Member) -> Expr {
        let (qualifier, field) = self.operands[member.operand].plan.schema().qualified_field(member.column);
        Expr::Column(Column::new(qualifier.cloned(), field.name()))
    }

    fn data_type(&self, member: Member) -> Option<&DataType> {
        let operand = self.operands.get(member.operand)?;
        operand.plan.schema().fields().get(member.column).map(|field| field.data_type())
    }

    /// The operands whose columns an expression uses. None if it uses others.
    pub(super) fn operands_of(&self, expr: &Expr) -> Option<Mask> {
        let mut operands = 0;
        for column in expr.column_refs() {
            operands |= 1 << self.member(column)?.operand;
        }
        Some(operands)
    }

    /// The class that a column is in.
    pub(crate) fn class_of(&self, member: Member) -> Option<usize> {
        self.classes.iter().position(|class| class.contains(&member))
    }

    /// The columns that equal one, itself among them.
    pub(crate) fn equals_of(&self, member: Member) -> Vec<Member> {
        self.class_of(member).map_or_else(|| vec![member], |class| self.classes[class].clone())
    }

    fn require(&mut self, expr: Expr, is_key: bool) -> Result<bool> {
        let Some(mut operands) = self.operands_of(&expr) else {
            return Ok(false);
        };
        if operands == 0 {
            // It holds for all rows or for none, so any operand may see to it.
            operands = 1;
        }
        let Some((one, other)) = equality(&expr) else {
            self.conditions.push(Condition { expr, operands, keys: None });
            return Ok(true);
        };
        if let (Expr::Column(first), Expr::Column(second)) = (one, other)
            && let (Some(first), Some(second)) = (self.member(first), self.member(second))
            && first.operand != second.operand
            && let (Some(one_type), Some(other_type)) = (self.data_type(first), self.data_type(second))
            && one_type == other_type
            && can_hash(one_type)
        {
            self.unite(first, second);
            return Ok(true);
        }
        let (Some(first), Some(second)) = (self.operands_of(one), self.operands_of(other)) else {
            return Ok(false);
        };
        let are_apart = first != 0 && second != 0 && first & second == 0;
        let keys = if are_apart && (is_key || self.have_same_type(one, first, other, second)) {
            Some([(one.clone(), first), (other.clone(), second)])
        } else {
            None
        };
        self.conditions.push(Condition { expr, operands, keys });
        Ok(true)
    }

    fn have_same_type(&self, one: &Expr, one_operands: Mask, other: &Expr, other_operands: Mask) -> bool {
        let type_of = |expr: &Expr, operands: Mask| {
            let operand = self.operands.get(operands.trailing_zeros() as usize)?;
            let is_one = operands.count_ones() == 1;
            is_one.then(|| expr.get_type(operand.plan.schema()).ok()).flatten()
        };
        match (type_of(one, one_operands), type_of(other, other_operands)) {
            (Some(one), Some(other)) => one == other && can_hash(&one),
            _ => false,
        }
    }

    fn unite(&mut self, one: Member, other: Member) {
        match (self.class_of(one), self.class_of(other)) {
            (None, None) => self.classes.push(vec![one, other]),
            (Some(class), None) => self.classes[class].push(other),
            (None, Some(class)) => self.classes[class].push(one),
            (Some(first), Some(second)) if first == second => {}
            (Some(first), Some(second)) => {
                let (kept, gone) = (first.min(second), first.max(second));
                let members = self.classes.remove(gone);
                self.classes[kept].extend(members);
            }
        }
    }

    fn filter_fits(&self, operand: &Operand, filter: &FilterJoin) -> bool {
        let is_own = |column: &&Column| {
            let name = (column.relation.as_ref(), column.name.as_str());
            operand.plan.schema().iter().any(|(qualifier, field)| (qualifier, field.name().as_str()) == name)
        };
        let keys_fit = filter.on.iter().all(|(left, right)| {
            let operands = self.operands_of(left);
            operands.is_some_and(|operands| operands != 0) && right.column_refs().iter().all(is_own)
        });
        let columns = filter.filter.iter().flat_map(Expr::column_refs);
        keys_fit && columns.into_iter().all(|column| is_own(&column) || self.member(column).is_some())
    }

    /// The sets of operands of each of which one must be there before a filter can be applied.
    pub(super) fn required(&self, filter: &FilterJoin) -> Vec<Mask> {
        let mut required = Vec::new();
        for (key, _) in &filter.on {
            match key {
                Expr::Column(column) => {
                    let equals = self.member(column).map(|member| self.equals_of(member)).unwrap_or_default();
                    required.push(equals.iter().fold(0, |mask, member| mask | 1 << member.operand));
                }
                other => required.extend(bits(self.operands_of(other).unwrap_or_default())),
            }
        }
        let own = filter.filter.iter().flat_map(Expr::column_refs).filter_map(|column| self.member(column));
        required.extend(own.map(|member| 1 << member.operand));
        required
    }

    /// An expression over columns that these operands have, equal to the one given: columns that they do not have
    /// are replaced by their equals.
    pub(super) fn over(&self, key: &Expr, operands: Mask) -> Expr {
        let Expr::Column(column) = key else {
            return key.clone();
        };
        let Some(member) = self.member(column) else {
            return key.clone();
        };
        if is_within(1 << member.operand, operands) {
            return key.clone();
        }
        let equals = self.equals_of(member);
        let found = equals.into_iter().find(|equal| is_within(1 << equal.operand, operands));
        found.map_or_else(|| key.clone(), |equal| self.column(equal))
    }
}

fn bits(mask: Mask) -> impl Iterator<Item = Mask> {
    super::order::numbers(mask).map(|operand| 1 << operand)
}

fn equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => Some((left, right)),
        _ => None,
    }
}
