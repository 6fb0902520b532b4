//! The order in which joins cost least: numbers in, a tree out.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::estimate::keys_divisor;

/// A set of operands, by their numbers.
pub(super) type Mask = u64;

/// The most operands that a graph may have.
pub(super) const OPERANDS_MAX: usize = Mask::BITS as usize;

/// All orders of no more operands than these are tried; of more, the next best join is taken each time.
const EXHAUSTIVE_MAX: usize = 10;

/// What a row costs that goes into a hash table, in rows that are read.
const BUILD_ROW: f64 = 2.0;
/// What a row costs that goes through an exchange.
const EXCHANGE_ROW: f64 = 2.0;
/// How many tasks read a build side that is sent to all.
const BROADCAST_TASKS: f64 = 4.0;

/// What is joined.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// Columns that equal each other.
    pub(super) classes: Vec<Class>,
    /// What else must hold.
    pub(super) conditions: Vec<Edge>,
    /// A build side of no more bytes than these is sent to every task.
    pub(super) broadcast_bytes_max: f64,
}

/// An operand.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) rows: f64,
    pub(super) row_bytes: f64,
    /// If its rows only tell which rows of the others are kept.
    pub(super) filter: Option<FilterNode>,
}

/// A semi, anti or mark join with an operand.
#[derive(Debug)]
pub(super) struct FilterNode {
    /// Of each of these sets one operand at least must be there.
    pub(super) requires: Vec<Mask>,
    /// The part of the rows that it keeps.
    pub(super) fraction: f64,
}

/// Columns that equal each other.
#[derive(Debug)]
pub(super) struct Class {
    /// The operands that have one.
    pub(super) members: Mask,
    /// How many values they have between them.
    pub(super) domain: f64,
}

/// A condition on the rows of some operands.
#[derive(Debug)]
pub(super) struct Edge {
    /// The operands.
    pub(super) operands: Mask,
    /// If it is an equality, those of its two sides.
    pub(super) sides: Option<(Mask, Mask)>,
    /// The part of the rows that it keeps.
    pub(super) fraction: f64,
}

/// An order of joins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// An operand.
    Leaf(usize),
    /// An inner join.
    Join(Box<Tree>, Box<Tree>),
    /// The rows that a filtering operand keeps.
    Filtered(Box<Tree>, usize),
}

impl Tree {
    /// The operands in it.
    pub(super) fn operands(&self) -> Mask {
        match self {
            Tree::Leaf(operand) => 1 << operand,
            Tree::Join(left, right) => left.operands() | right.operands(),
            Tree::Filtered(input, operand) => input.operands() | 1 << operand,
        }
    }
}

/// Whether one set is part of another.
pub(super) fn is_within(one: Mask, other: Mask) -> bool {
    one & !other == 0
}

/// The numbers of the operands in a set.
pub(super) fn numbers(mask: Mask) -> impl Iterator<Item = usize> {
    (0..OPERANDS_MAX).filter(move |operand| mask & (1 << operand) != 0)
}

/// Rows and costs of parts of a graph.
pub(super) struct Costs<'a> {
    graph: &'a Graph,
    rows: RefCell<HashMap<Mask, f64>>,
}

impl<'a> Costs<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        Costs { graph, rows: RefCell::default() }
    }

    /// The rows of these operands joined, in whatever order.
    pub(super) fn rows(&self, operands: Mask) -> f64 {
        if let Some(rows) = self.rows.borrow().get(&operands) {
            return *rows;
        }
        let rows = self.compute_rows(operands);
        self.rows.borrow_mut().insert(operands, rows);
        rows
    }

    fn compute_rows(&self, operands: Mask) -> f64 {
        let mut rows = 1.0;
        for operand in numbers(operands) {
            let node = &self.graph.nodes[operand];
            rows *= node.filter.as_ref().map_or(node.rows, |filter| filter.fraction);
        }
        for class in &self.graph.classes {
            let members = (class.members & operands).count_ones();
            rows /= class.domain.powi(members.saturating_sub(1) as i32);
        }
        rows *= self.common_keys(operands);
        for edge in self.graph.conditions.iter().filter(|edge| edge.operands.count_ones() > 1) {
            if is_within(edge.operands, operands) {
                rows *= edge.fraction;
            }
        }
        rows.max(1.0)
    }

    /// Classes that two operands have in common were taken to be independent, and are not: what this is to be
    /// multiplied by.
    fn common_keys(&self, operands: Mask) -> f64 {
        let mut factor = 1.0;
        for operand in numbers(operands) {
            let before = numbers(operands).take_while(|other| *other < operand);
            let best = before
                .map(|other| {
                    let both: Mask = 1 << operand | 1 << other;
                    let shared = self.graph.classes.iter().filter(|class| is_within(both, class.members));
                    let domains: Vec<f64> = shared.map(|class| class.domain).collect();
                    domains.iter().product::<f64>() / keys_divisor(domains)
                })
                .fold(1.0, f64::max);
            factor *= best;
        }
        factor
    }

    fn row_bytes(&self, operands: Mask) -> f64 {
        let nodes = numbers(operands).map(|operand| &self.graph.nodes[operand]);
        nodes.filter(|node| node.filter.is_none()).map(|node| node.row_bytes).sum()
    }

    /// The size of these operands joined, in bytes.
    pub(super) fn bytes(&self, operands: Mask) -> f64 {
        self.rows(operands) * self.row_bytes(operands)
    }

    /// The cost of one join, in rows that are read.
    fn step(&self, left: Mask, right: Mask) -> f64 {
        let both = left | right;
        let of = |side: Mask| match self.filter_of(side) {
            Some(operand) => {
                let node = &self.graph.nodes[operand];
                (node.rows, node.rows * node.row_bytes)
            }
            None => (self.rows(side), self.bytes(side)),
        };
        let ((left_rows, left_bytes), (right_rows, right_bytes)) = (of(left), of(right));
        let is_cross = self.filter_of(right).is_none() && !self.are_connected(left, right);
        if is_cross {
            return left_rows * right_rows + self.rows(both);
        }
        let (build, build_bytes, probe) = if left_bytes <= right_bytes {
            (left_rows, left_bytes, right_rows)
        } else {
            (right_rows, right_bytes, left_rows)
        };
        let exchange = if build_bytes <= self.graph.broadcast_bytes_max {
            build * BROADCAST_TASKS
        } else {
            (build + probe) * EXCHANGE_ROW
        };
        build * BUILD_ROW + probe + exchange + self.rows(both)
    }

    /// The cost of all joins of a tree.
    pub(super) fn of(&self, tree: &Tree) -> f64 {
        match tree {
            Tree::Leaf(_) => 0.0,
            Tree::Join(left, right) => {
                self.of(left) + self.of(right) + self.step(left.operands(), right.operands())
            }
            Tree::Filtered(input, operand) => self.of(input) + self.step(input.operands(), 1 << operand),
        }
    }

    /// Whether a join of a tree has no keys.
    pub(super) fn has_cross_join(&self, tree: &Tree) -> bool {
        match tree {
            Tree::Leaf(_) => false,
            Tree::Filtered(input, _) => self.has_cross_join(input),
            Tree::Join(left, right) => {
                !self.are_connected(left.operands(), right.operands())
                    || self.has_cross_join(left)
                    || self.has_cross_join(right)
            }
        }
    }

    fn are_connected(&self, one: Mask, other: Mask) -> bool {
        let by_class =
            self.graph.classes.iter().any(|class| class.members & one != 0 && class.members & other != 0);
        let by_keys = |(left, right): (Mask, Mask)| {
            is_within(left, one) && is_within(right, other) || is_within(left, other) && is_within(right, one)
        };
        by_class || self.graph.conditions.iter().filter_map(|edge| edge.sides).any(by_keys)
    }

    /// The operand that these are, if it is one that filters.
    fn filter_of(&self, operands: Mask) -> Option<usize> {
        let operand = operands.trailing_zeros() as usize;
        let is_one = operands.count_ones() == 1 && self.graph.nodes[operand].filter.is_some();
        is_one.then_some(operand)
    }

    /// Whether a filtering operand can be applied to these.
    fn can_filter(&self, filter: usize, operands: Mask) -> bool {
        let filter = self.graph.nodes[filter].filter.as_ref();
        filter.is_some_and(|filter| filter.requires.iter().all(|any| any & operands != 0))
    }

    /// The join of two disjoint sets, if there may be one without the product of all rows.
    fn join(&self, one: Mask, other: Mask) -> Option<Step> {
        match (self.filter_of(one), self.filter_of(other)) {
            (None, None) => self.are_connected(one, other).then_some(Step::Join),
            (Some(filter), None) => self.can_filter(filter, other).then_some(Step::FilterSecond),
            (None, Some(filter)) => self.can_filter(filter, one).then_some(Step::FilterFirst),
            (Some(_), Some(_)) => None,
        }
    }

    /// The tree that costs least, or one that costs little if there are many operands.
    pub(super) fn best(&self) -> Option<Tree> {
        let count = self.graph.nodes.len();
        let exhaustive = if count <= EXHAUSTIVE_MAX { self.exhaustive(count) } else { None };
        exhaustive.or_else(|| self.greedy())
    }

    fn exhaustive(&self, count: usize) -> Option<Tree> {
        let all: Mask = (1 << count) - 1;
        // By set: what it costs, and its first part, which has the lowest operand.
        let mut best: Vec<Option<(f64, Mask)>> = vec![None; 1 << count];
        for operand in 0..count {
            best[1 << operand] = Some((0.0, 0));
        }
        for set in 1..=all {
            if set.count_ones() < 2 {
                continue;
            }
            let lowest = set & set.wrapping_neg();
            let mut first = (set - 1) & set;
            while first != 0 {
                let second = set & !first;
                if first & lowest != 0
                    && let (Some((one, _)), Some((other, _))) = (best[first as usize], best[second as usize])
                    && let Some(step) = self.join(first, second)
                {
                    let (left, right) = step.sides(first, second);
                    let cost = one + other + self.step(left, right);
                    if best[set as usize].is_none_or(|(least, _)| cost < least) {
                        best[set as usize] = Some((cost, first));
                    }
                }
                first = (first - 1) & set;
            }
        }
        best[all as usize]?;
        Some(self.tree_of(all, &best))
    }

    fn tree_of(&self, set: Mask, best: &[Option<(f64, Mask)>]) -> Tree {
        let first = best[set as usize].map_or(0, |(_, first)| first);
        if first == 0 {
            return Tree::Leaf(set.trailing_zeros() as usize);
        }
        let second = set & !first;
        self.joined(self.tree_of(first, best), self.tree_of(second, best))
    }

    /// The smaller side first; a filter after what it filters.
    fn joined(&self, one: Tree, other: Tree) -> Tree {
        match (self.filter_of(one.operands()), self.filter_of(other.operands())) {
            (_, Some(filter)) => Tree::Filtered(Box::new(one), filter),
            (Some(filter), None) => Tree::Filtered(Box::new(other), filter),
            (None, None) if self.bytes(other.operands()) < self.bytes(one.operands()) => {
                Tree::Join(Box::new(other), Box::new(one))
            }
            (None, None) => Tree::Join(Box::new(one), Box::new(other)),
        }
    }

    /// Takes the cheapest step each time. None if a filter finds no place.
    fn greedy(&self) -> Option<Tree> {
        let mut trees: Vec<Tree> = (0..self.graph.nodes.len()).map(Tree::Leaf).collect();
        while trees.len() > 1 {
            let pairs =
                (0..trees.len()).flat_map(|one| (one + 1..trees.len()).map(move |other| (one, other)));
            let cost = |(one, other): (usize, usize)| {
                let (one_set, other_set) = (trees[one].operands(), trees[other].operands());
                if let Some(step) = self.join(one_set, other_set) {
                    let (left, right) = step.sides(one_set, other_set);
                    return Some((false, self.step(left, right), one, other));
                }
                let are_rows = self.filter_of(one_set).is_none() && self.filter_of(other_set).is_none();
                // The product of all rows comes last.
                are_rows.then(|| (true, self.step(one_set, other_set), one, other))
            };
            let least = |a: &(bool, f64, usize, usize), b: &(bool, f64, usize, usize)| {
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            };
            let (_, _, one, other) = pairs.filter_map(cost).min_by(least)?;
            let second = trees.remove(other);
            let first = std::mem::replace(&mut trees[one], Tree::Leaf(0));
            trees[one] = self.joined(first, second);
        }
        trees.pop()
    }
}

/// How two sets are joined.
#[derive(Clone, Copy)]
enum Step {
    Join,
    FilterFirst,
    FilterSecond,
}

impl Step {
    /// A filter is the right side.
    fn sides(self, first: Mask, second: Mask) -> (Mask, Mask) {
        match self {
            Step::Join | Step::FilterFirst => (first, second),
            Step::FilterSecond => (second, first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: f64) -> Node {
        Node { rows, row_bytes: 8.0, filter: None }
    }

    fn filter(rows: f64, requires: Mask, fraction: f64) -> Node {
        Node { rows, row_bytes: 8.0, filter: Some(FilterNode { requires: vec![requires], fraction }) }
    }

    fn class(members: Mask, domain: f64) -> Class {
        Class { members, domain }
    }

    fn graph(nodes: Vec<Node>, classes: Vec<Class>) -> Graph {
        Graph { nodes, classes, conditions: Vec::new(), broadcast_bytes_max: 1e6 }
    }

    fn best(graph: &Graph) -> Tree {
        Costs::new(graph).best().unwrap()
    }

    fn leaf(operand: usize) -> Box<Tree> {
        Box::new(Tree::Leaf(operand))
    }

    #[test]
    fn the_most_selective_table_comes_first() {
        // Lines refer to orders and to parts, of which a few are left.
        let graph =
            graph(vec![rows(1e6), rows(6e6), rows(100.0)], vec![class(0b011, 1.5e6), class(0b110, 2e5)]);
        assert_eq!(best(&graph), Tree::Join(Box::new(Tree::Join(leaf(2), leaf(1))), leaf(0)));
        assert!((Costs::new(&graph).rows(0b110) - 3000.0).abs() < 1.0);
    }

    #[test]
    fn a_few_keys_filter_before_the_joins_and_many_after() {
        let classes = || vec![class(0b011, 1.5e6)];
        let few = graph(vec![rows(1.5e6), rows(6e6), filter(600.0, 0b011, 0.0004)], classes());
        let filtered = Tree::Filtered(leaf(0), 2);
        assert_eq!(best(&few), Tree::Join(Box::new(filtered), leaf(1)));
        // Joined with a few orders there is little left to look up.
        let many = graph(vec![rows(100.0), rows(6e6), filter(6e6, 0b010, 0.9)], classes());
        assert_eq!(best(&many), Tree::Filtered(Box::new(Tree::Join(leaf(0), leaf(1))), 2));
    }

    #[test]
    fn a_filter_waits_for_all_that_it_compares() {
        let mut graph = graph(vec![rows(1e6), rows(1e6), filter(10.0, 0b01, 0.001)], vec![class(0b011, 1e6)]);
        graph.nodes[2].filter.as_mut().unwrap().requires.push(0b10);
        assert!(matches!(best(&graph), Tree::Filtered(_, 2)));
    }

    #[test]
    fn products_come_last_and_only_where_they_must() {
        let connected =
            graph(vec![rows(2.0), rows(2.0), rows(1e6)], vec![class(0b101, 1e6), class(0b110, 1e6)]);
        let costs = Costs::new(&connected);
        assert!(!costs.has_cross_join(&costs.best().unwrap()));
        assert!(costs.has_cross_join(&Tree::Join(Box::new(Tree::Join(leaf(0), leaf(1))), leaf(2))));

        let apart = graph(vec![rows(10.0), rows(1e6), rows(1e6)], vec![class(0b110, 1e6)]);
        let Tree::Join(one, other) = best(&apart) else { panic!("no join") };
        assert!([*one, *other].contains(&Tree::Leaf(0)));
    }

    #[test]
    fn keys_in_common_are_not_independent() {
        // Parts, suppliers, who supplies what, and what was bought.
        let graph = graph(
            vec![rows(2e5), rows(1e4), rows(8e5), rows(6e6)],
            vec![class(0b1101, 2e5), class(0b1110, 1e4)],
        );
        let costs = Costs::new(&graph);
        let all = costs.rows(0b1111);
        assert!(all > 1e6 && all < 1e7, "{all}");
        assert!((all - costs.rows(0b1100)).abs() < 1.0);
    }

    #[test]
    fn many_tables_are_joined_without_products() {
        let count = OPERANDS_MAX;
        let nodes = (0..count).map(|number| rows(1e3 * (1 + number % 7) as f64)).collect();
        let classes = (1..count).map(|number| class(1 << number | 1 << (number - 1), 1e3)).collect();
        let graph = graph(nodes, classes);
        let costs = Costs::new(&graph);
        let tree = costs.best().unwrap();
        assert_eq!(tree.operands(), Mask::MAX);
        assert!(!costs.has_cross_join(&tree));
    }
}
