//! Makes rows, and of them the columns that are wanted.

use std::fmt::{Display, Write};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray, StringBuilder,
};
use arrow::datatypes::DataType;
use base::{Error, ErrorCode, Result};
use tpchgen::dates::TPCHDate;
use tpchgen::decimal::TPCHDecimal;
use tpchgen::generators as tpch;

use crate::handle::{PartHandle, TpchHandle};
use crate::table::Table;

/// Some rows of a table, or the columns of them that are wanted.
pub(crate) struct Piece {
    /// How many rows.
    pub(crate) row_count: usize,
    /// The wanted columns, in the order in which they are wanted.
    pub(crate) columns: Vec<ArrayRef>,
}

/// The wanted columns: each by its index in the table, and with the Arrow type to make it in.
pub(crate) type Wanted = Vec<(usize, DataType)>;

/// The pieces of a part, made when asked for.
pub(crate) type Pieces = Box<dyn Iterator<Item = Result<Piece>> + Send>;

/// Makes the rows of a part in pieces of `piece_rows`, no more than `limit` in all.
pub(crate) fn pieces(
    handle: TpchHandle,
    part: PartHandle,
    wanted: Wanted,
    limit: usize,
    piece_rows: usize,
) -> Pieces {
    let TpchHandle { table, scale } = handle;
    // A part handle's numbers fit: its decoding checks it.
    let (number, count) = (part.number as i32, part.count as i32);
    macro_rules! pieces {
        ($generator:ident, $column:ident) => {{
            let rows = move || tpch::$generator::new(scale, number, count).iter().take(limit);
            Box::new(PieceIterator { make: rows, rows: None, column: $column, wanted, piece_rows })
        }};
    }
    match table {
        Table::Customer => pieces!(CustomerGenerator, customer),
        Table::Lineitem => pieces!(LineItemGenerator, lineitem),
        Table::Nation => pieces!(NationGenerator, nation),
        Table::Orders => pieces!(OrderGenerator, orders),
        Table::Part => pieces!(PartGenerator, part_table),
        Table::Partsupp => pieces!(PartSuppGenerator, partsupp),
        Table::Region => pieces!(RegionGenerator, region),
        Table::Supplier => pieces!(SupplierGenerator, supplier),
    }
}

/// Collects rows into pieces. The generator is made with the first piece: the first of all in a process makes a
/// large pool of text.
struct PieceIterator<M, I, C> {
    make: M,
    rows: Option<I>,
    column: C,
    wanted: Wanted,
    piece_rows: usize,
}

impl<M, I, C> Iterator for PieceIterator<M, I, C>
where
    M: Fn() -> I,
    I: Iterator,
    C: Fn(&[I::Item], usize, &DataType) -> Result<ArrayRef>,
{
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        let iterator = self.rows.get_or_insert_with(&self.make);
        let rows: Vec<I::Item> = iterator.by_ref().take(self.piece_rows).collect();
        if rows.is_empty() {
            return None;
        }
        let columns = self.wanted.iter().map(|(index, data_type)| (self.column)(&rows, *index, data_type));
        let columns: Result<Vec<ArrayRef>> = columns.collect();
        Some(columns.map(|columns| Piece { row_count: rows.len(), columns }))
    }
}

fn customer(rows: &[tpch::Customer], index: usize, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.c_custkey),
        1 => display(rows, |row| &row.c_name),
        2 => display(rows, |row| &row.c_address),
        3 => bigints(rows, |row| row.c_nationkey),
        4 => display(rows, |row| &row.c_phone),
        5 => amounts(rows, data_type, |row| hundredths(row.c_acctbal))?,
        6 => text(rows, |row| row.c_mktsegment),
        7 => text(rows, |row| row.c_comment),
        _ => return Err(no_such_column(index)),
    })
}

fn lineitem(rows: &[tpch::LineItem], index: usize, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.l_orderkey),
        1 => bigints(rows, |row| row.l_partkey),
        2 => bigints(rows, |row| row.l_suppkey),
        3 => integers(rows, |row| row.l_linenumber),
        4 => amounts(rows, data_type, |row| row.l_quantity * 100)?,
        5 => amounts(rows, data_type, |row| hundredths(row.l_extendedprice))?,
        6 => amounts(rows, data_type, |row| hundredths(row.l_discount))?,
        7 => amounts(rows, data_type, |row| hundredths(row.l_tax))?,
        8 => text(rows, |row| row.l_returnflag),
        9 => text(rows, |row| row.l_linestatus),
        10 => dates(rows, |row| row.l_shipdate),
        11 => dates(rows, |row| row.l_commitdate),
        12 => dates(rows, |row| row.l_receiptdate),
        13 => text(rows, |row| row.l_shipinstruct),
        14 => text(rows, |row| row.l_shipmode),
        15 => text(rows, |row| row.l_comment),
        _ => return Err(no_such_column(index)),
    })
}

fn nation(rows: &[tpch::Nation], index: usize, _: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.n_nationkey),
        1 => text(rows, |row| row.n_name),
        2 => bigints(rows, |row| row.n_regionkey),
        3 => text(rows, |row| row.n_comment),
        _ => return Err(no_such_column(index)),
    })
}

fn orders(rows: &[tpch::Order], index: usize, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.o_orderkey),
        1 => bigints(rows, |row| row.o_custkey),
        2 => text(rows, |row| row.o_orderstatus.as_str()),
        3 => amounts(rows, data_type, |row| hundredths(row.o_totalprice))?,
        4 => dates(rows, |row| row.o_orderdate),
        5 => text(rows, |row| row.o_orderpriority),
        6 => display(rows, |row| &row.o_clerk),
        7 => integers(rows, |row| row.o_shippriority),
        8 => text(rows, |row| row.o_comment),
        _ => return Err(no_such_column(index)),
    })
}

fn part_table(rows: &[tpch::Part], index: usize, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.p_partkey),
        1 => display(rows, |row| &row.p_name),
        2 => display(rows, |row| &row.p_mfgr),
        3 => display(rows, |row| &row.p_brand),
        4 => text(rows, |row| row.p_type),
        5 => integers(rows, |row| row.p_size),
        6 => text(rows, |row| row.p_container),
        7 => amounts(rows, data_type, |row| hundredths(row.p_retailprice))?,
        8 => text(rows, |row| row.p_comment),
        _ => return Err(no_such_column(index)),
    })
}

fn partsupp(rows: &[tpch::PartSupp], index: usize, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.ps_partkey),
        1 => bigints(rows, |row| row.ps_suppkey),
        2 => integers(rows, |row| row.ps_availqty),
        3 => amounts(rows, data_type, |row| hundredths(row.ps_supplycost))?,
        4 => text(rows, |row| row.ps_comment),
        _ => return Err(no_such_column(index)),
    })
}

fn region(rows: &[tpch::Region], index: usize, _: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.r_regionkey),
        1 => text(rows, |row| row.r_name),
        2 => text(rows, |row| row.r_comment),
        _ => return Err(no_such_column(index)),
    })
}

fn supplier(rows: &[tpch::Supplier], index: usize, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match index {
        0 => bigints(rows, |row| row.s_suppkey),
        1 => display(rows, |row| &row.s_name),
        2 => display(rows, |row| &row.s_address),
        3 => bigints(rows, |row| row.s_nationkey),
        4 => display(rows, |row| &row.s_phone),
        5 => amounts(rows, data_type, |row| hundredths(row.s_acctbal))?,
        6 => text(rows, |row| row.s_comment.as_str()),
        _ => return Err(no_such_column(index)),
    })
}

fn no_such_column(index: usize) -> Error {
    Error::internal(format!("the table has no column {index}"))
}

fn hundredths(amount: TPCHDecimal) -> i64 {
    amount.into_inner()
}

fn bigints<R>(rows: &[R], value: impl Fn(&R) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
}

fn integers<R>(rows: &[R], value: impl Fn(&R) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.iter().map(value)))
}

fn dates<R>(rows: &[R], value: impl Fn(&R) -> TPCHDate) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| value(row).to_unix_epoch())))
}

fn text<'r, R>(rows: &'r [R], value: impl Fn(&'r R) -> &'r str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
}

fn display<'r, R, D: Display + 'r>(rows: &'r [R], value: impl Fn(&'r R) -> &'r D) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
    for row in rows {
        write!(builder, "{}", value(row)).expect("writing into memory cannot fail");
        builder.append_value("");
    }
    Arc::new(builder.finish())
}

/// Amounts in hundredths as the type that the catalog gives them.
fn amounts<R>(rows: &[R], data_type: &DataType, value: impl Fn(&R) -> i64) -> Result<ArrayRef> {
    match data_type {
        DataType::Float64 => {
            Ok(Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| value(row) as f64 / 100.0))))
        }
        DataType::Decimal128(_, 2) => {
            let amounts = Decimal128Array::from_iter_values(rows.iter().map(|row| i128::from(value(row))));
            Ok(Arc::new(amounts.with_data_type(data_type.clone())))
        }
        other => {
            let text = format!("an amount cannot be made as {other}");
            Err(Error::new(ErrorCode::GENERIC_INTERNAL_ERROR, text))
        }
    }
}
