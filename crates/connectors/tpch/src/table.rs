//! The eight tables of TPC-H: their columns, and what the specification and a look at the data say of the values.

use types::Type;

use crate::config::MoneyType;
use Distinct::{Count, PerScale};
use Kind::{Date, Identifier, Integer, Money, Varchar};
use Range::{Amounts, Days, Fixed, Keys, Unknown};

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Customer,
    Lineitem,
    Nation,
    Orders,
    Part,
    Partsupp,
    Region,
    Supplier,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The name in the specification, with the table's prefix.
    pub(crate) name: &'static str,
    /// What values are.
    pub(crate) kind: Kind,
    /// How many different values there are.
    pub(crate) distinct: Distinct,
    /// Between what values lie.
    pub(crate) range: Range,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A key, 64 bits.
    Identifier,
    /// A number, 32 bits.
    Integer,
    /// A date.
    Date,
    /// An amount with two digits after the point.
    Money,
    /// Text.
    Varchar {
        /// The most characters.
        length: u32,
        /// The characters of a value on average.
        average: u32,
    },
}

/// How many different values a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distinct {
    /// So many at every scale factor.
    Count(u64),
    /// So many at scale factor 1, and in proportion at others.
    PerScale(u64),
}

/// Between what values a column's lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Not known, or of no use.
    Unknown,
    /// From and to these numbers.
    Fixed(i64, i64),
    /// From 1 to this number times the scale factor.
    Keys(i64),
    /// From and to these amounts, in hundredths.
    Amounts(i64, i64),
    /// From and to these dates, in days since 1970-01-01.
    Days(i32, i32),
}

const fn column(name: &'static str, kind: Kind, distinct: Distinct, range: Range) -> Column {
    Column { name, kind, distinct, range }
}

const fn varchar(length: u32, average: u32) -> Kind {
    Varchar { length, average }
}

/// The nation keys, and everything that refers to them.
const NATIONS: Range = Fixed(0, 24);

const CUSTOMER: &[Column] = &[
    column("c_custkey", Identifier, PerScale(150_000), Keys(150_000)),
    column("c_name", varchar(25, 18), PerScale(150_000), Unknown),
    column("c_address", varchar(40, 25), PerScale(150_000), Unknown),
    column("c_nationkey", Identifier, Count(25), NATIONS),
    column("c_phone", varchar(15, 15), PerScale(150_000), Unknown),
    column("c_acctbal", Money, PerScale(140_187), Amounts(-99_999, 999_999)),
    column("c_mktsegment", varchar(10, 9), Count(5), Unknown),
    column("c_comment", varchar(117, 73), PerScale(149_968), Unknown),
];

const LINEITEM: &[Column] = &[
    column("l_orderkey", Identifier, PerScale(1_500_000), Keys(6_000_000)),
    column("l_partkey", Identifier, PerScale(200_000), Keys(200_000)),
    column("l_suppkey", Identifier, PerScale(10_000), Keys(10_000)),
    column("l_linenumber", Integer, Count(7), Fixed(1, 7)),
    column("l_quantity", Money, Count(50), Amounts(100, 5_000)),
    column("l_extendedprice", Money, PerScale(933_900), Amounts(90_000, 10_495_000)),
    column("l_discount", Money, Count(11), Amounts(0, 10)),
    column("l_tax", Money, Count(9), Amounts(0, 8)),
    column("l_returnflag", varchar(1, 1), Count(3), Unknown),
    column("l_linestatus", varchar(1, 1), Count(2), Unknown),
    column("l_shipdate", Date, Count(2_526), Days(8_036, 10_561)),
    column("l_commitdate", Date, Count(2_466), Days(8_065, 10_530)),
    column("l_receiptdate", Date, Count(2_554), Days(8_037, 10_591)),
    column("l_shipinstruct", varchar(25, 12), Count(4), Unknown),
    column("l_shipmode", varchar(10, 4), Count(7), Unknown),
    column("l_comment", varchar(44, 27), PerScale(4_580_667), Unknown),
];

const NATION: &[Column] = &[
    column("n_nationkey", Identifier, Count(25), NATIONS),
    column("n_name", varchar(25, 7), Count(25), Unknown),
    column("n_regionkey", Identifier, Count(5), Fixed(0, 4)),
    column("n_comment", varchar(152, 74), Count(25), Unknown),
];

const ORDERS: &[Column] = &[
    column("o_orderkey", Identifier, PerScale(1_500_000), Keys(6_000_000)),
    // A third of the customers never order.
    column("o_custkey", Identifier, PerScale(99_996), Keys(150_000)),
    column("o_orderstatus", varchar(1, 1), Count(3), Unknown),
    column("o_totalprice", Money, PerScale(1_464_556), Amounts(80_000, 60_000_000)),
    column("o_orderdate", Date, Count(2_406), Days(8_035, 10_440)),
    column("o_orderpriority", varchar(15, 8), Count(5), Unknown),
    column("o_clerk", varchar(15, 15), PerScale(1_000), Unknown),
    column("o_shippriority", Integer, Count(1), Fixed(0, 0)),
    column("o_comment", varchar(79, 49), PerScale(1_482_071), Unknown),
];

const PART: &[Column] = &[
    column("p_partkey", Identifier, PerScale(200_000), Keys(200_000)),
    column("p_name", varchar(55, 33), PerScale(199_997), Unknown),
    column("p_mfgr", varchar(25, 14), Count(5), Unknown),
    column("p_brand", varchar(10, 8), Count(25), Unknown),
    column("p_type", varchar(25, 21), Count(150), Unknown),
    column("p_size", Integer, Count(50), Fixed(1, 50)),
    column("p_container", varchar(10, 8), Count(40), Unknown),
    column("p_retailprice", Money, PerScale(20_899), Amounts(90_000, 209_900)),
    column("p_comment", varchar(23, 14), PerScale(131_753), Unknown),
];

const PARTSUPP: &[Column] = &[
    column("ps_partkey", Identifier, PerScale(200_000), Keys(200_000)),
    column("ps_suppkey", Identifier, PerScale(10_000), Keys(10_000)),
    column("ps_availqty", Integer, Count(9_999), Fixed(1, 9_999)),
    column("ps_supplycost", Money, Count(99_901), Amounts(100, 100_000)),
    column("ps_comment", varchar(199, 124), PerScale(799_124), Unknown),
];

const REGION: &[Column] = &[
    column("r_regionkey", Identifier, Count(5), Fixed(0, 4)),
    column("r_name", varchar(25, 7), Count(5), Unknown),
    column("r_comment", varchar(152, 66), Count(5), Unknown),
];

const SUPPLIER: &[Column] = &[
    column("s_suppkey", Identifier, PerScale(10_000), Keys(10_000)),
    column("s_name", varchar(25, 18), PerScale(10_000), Unknown),
    column("s_address", varchar(40, 25), PerScale(10_000), Unknown),
    column("s_nationkey", Identifier, Count(25), NATIONS),
    column("s_phone", varchar(15, 15), PerScale(10_000), Unknown),
    column("s_acctbal", Money, PerScale(9_955), Amounts(-99_999, 999_999)),
    column("s_comment", varchar(101, 63), PerScale(10_000), Unknown),
];

/// The rows of lineitem at the scale factors of which the specification gives them: (scale factor, rows).
const LINEITEM_ROWS: [(f64, u64); 11] = [
    (0.01, 60_175),
    (1.0, 6_001_215),
    (10.0, 59_986_052),
    (30.0, 179_998_372),
    (100.0, 600_037_902),
    (300.0, 1_799_989_091),
    (1_000.0, 5_999_989_709),
    (3_000.0, 18_000_048_306),
    (10_000.0, 59_999_994_267),
    (30_000.0, 179_999_978_268),
    (100_000.0, 599_999_969_200),
];

/// The rows of lineitem per unit of the scale factor, where they are not known exactly: four per order on average.
const LINEITEM_ROWS_PER_SCALE: f64 = 6_001_215.0;

/// Suppliers of a part.
const SUPPLIERS_PER_PART: u64 = 4;

impl Table {
    /// Every table, by name.
    pub(crate) const ALL: [Table; 8] = [
        Table::Customer,
        Table::Lineitem,
        Table::Nation,
        Table::Orders,
        Table::Part,
        Table::Partsupp,
        Table::Region,
        Table::Supplier,
    ];

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Customer => "customer",
            Table::Lineitem => "lineitem",
            Table::Nation => "nation",
            Table::Orders => "orders",
            Table::Part => "part",
            Table::Partsupp => "partsupp",
            Table::Region => "region",
            Table::Supplier => "supplier",
        }
    }

    /// The table of that name.
    pub(crate) fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The columns in order.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Table::Customer => CUSTOMER,
            Table::Lineitem => LINEITEM,
            Table::Nation => NATION,
            Table::Orders => ORDERS,
            Table::Part => PART,
            Table::Partsupp => PARTSUPP,
            Table::Region => REGION,
            Table::Supplier => SUPPLIER,
        }
    }

    /// Whether the table grows with the scale factor and can be made in parts.
    pub(crate) fn is_divisible(self) -> bool {
        !matches!(self, Table::Nation | Table::Region)
    }

    /// The things that a part of the table holds whole numbers of: orders with their lines, parts with their
    /// suppliers, rows.
    pub(crate) fn unit_count(self, scale: f64) -> u64 {
        let per_scale = match self {
            Table::Nation => return 25,
            Table::Region => return 5,
            Table::Customer => 150_000.0,
            Table::Lineitem | Table::Orders => 1_500_000.0,
            Table::Part | Table::Partsupp => 200_000.0,
            Table::Supplier => 10_000.0,
        };
        (per_scale * scale) as u64
    }

    /// The number of rows: exact, but for lineitem at unusual scale factors.
    pub(crate) fn row_count(self, scale: f64) -> u64 {
        match self {
            Table::Lineitem => {
                let known = LINEITEM_ROWS.iter().find(|(known, _)| *known == scale).map(|(_, rows)| *rows);
                known.unwrap_or((LINEITEM_ROWS_PER_SCALE * scale) as u64)
            }
            Table::Partsupp => self.unit_count(scale) * SUPPLIERS_PER_PART,
            _ => self.unit_count(scale),
        }
    }

    /// The size of all rows, in bytes as Arrow holds them. An estimate.
    pub(crate) fn total_bytes(self, scale: f64) -> u64 {
        let row_bytes: u64 = self.columns().iter().map(|column| column.kind.bytes()).sum();
        self.row_count(scale).saturating_mul(row_bytes)
    }
}

impl Kind {
    /// The size of a value in bytes as Arrow holds it, on average.
    fn bytes(self) -> u64 {
        match self {
            Identifier | Money => 8,
            Integer | Date => 4,
            // Each text has its characters and an offset of four bytes.
            Varchar { average, .. } => u64::from(average) + 4,
        }
    }
}

impl Column {
    /// The Trino type.
    pub(crate) fn column_type(&self, money: MoneyType) -> Type {
        match (self.kind, money) {
            (Identifier, _) => Type::Bigint,
            (Integer, _) => Type::Integer,
            (Date, _) => Type::Date,
            (Money, MoneyType::Double) => Type::Double,
            (Money, MoneyType::Decimal) => Type::Decimal { precision: 12, scale: 2 },
            (Varchar { length, .. }, _) => Type::Varchar { length: Some(length) },
        }
    }
}
