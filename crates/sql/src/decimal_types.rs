//! The type of a quotient of decimals, as Trino has it since version 477.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, cast};

const MAX_PRECISION: i32 = 38;
/// A quotient has at least as many digits after the point.
const MIN_SCALE: i32 = 6;
/// So many digits more than the dividend has the quotient of the planner behind this crate after the point.
const ADDED_SCALE: i32 = 4;

/// Precision and scale of a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decimal {
    precision: i32,
    scale: i32,
}

impl Decimal {
    /// The decimal that a value becomes in arithmetic with decimals.
    fn of(expr: &Expr, schema: &DFSchema) -> Option<Decimal> {
        let whole = |precision| Some(Decimal { precision, scale: 0 });
        match expr.get_type(schema).ok()? {
            DataType::Decimal128(precision, scale) => {
                Some(Decimal { precision: i32::from(precision), scale: i32::from(scale) })
            }
            DataType::Int8 => whole(3),
            DataType::Int16 => whole(5),
            DataType::Int32 => whole(10),
            DataType::Int64 if is_integer_literal(expr) => whole(10),
            DataType::Int64 => whole(19),
            _ => None,
        }
    }

    fn quotient(self, divisor: Decimal) -> Decimal {
        let scale = MIN_SCALE.max(self.scale + divisor.precision + 1);
        let integral = self.precision - self.scale + divisor.scale;
        let room = if integral > MAX_PRECISION - MIN_SCALE { MIN_SCALE } else { MAX_PRECISION - integral };
        Decimal { precision: (integral + scale).min(MAX_PRECISION), scale: scale.min(room) }
    }

    fn data_type(self) -> Option<DataType> {
        Some(DataType::Decimal128(u8::try_from(self.precision).ok()?, i8::try_from(self.scale).ok()?))
    }
}

/// A literal that is an `integer` in Trino, where it is a `bigint` here.
fn is_integer_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(value)), _) if i32::try_from(*value).is_ok())
}

/// The quotient of two decimals in Trino's type; None if they are none, or are both whole numbers.
///
/// The dividend gets enough digits for those of the quotient, which the division would not compute otherwise.
pub(crate) fn division(dividend: &Expr, divisor: &Expr, schema: &DFSchema) -> Option<Expr> {
    let is_decimal = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Decimal128(..)));
    if !is_decimal(dividend) && !is_decimal(divisor) {
        return None;
    }
    let dividend_type = Decimal::of(dividend, schema)?;
    let divisor_type = Decimal::of(divisor, schema)?;
    let quotient_type = dividend_type.quotient(divisor_type);
    let widened = Decimal {
        precision: MAX_PRECISION,
        scale: dividend_type.scale.max(quotient_type.scale - ADDED_SCALE),
    };
    let dividend = cast(dividend.clone(), widened.data_type()?);
    let divisor = cast(divisor.clone(), divisor_type.data_type()?);
    let quotient = BinaryExpr::new(Box::new(dividend), Operator::Divide, Box::new(divisor));
    Some(cast(Expr::BinaryExpr(quotient), quotient_type.data_type()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_trinos_types() {
        for (dividend, divisor, quotient) in [
            ((10, 2), (10, 0), (21, 13)),
            ((15, 4), (15, 4), (35, 20)),
            ((38, 2), (38, 2), (38, 6)),
            ((19, 0), (3, 2), (27, 6)),
            ((1, 0), (1, 0), (7, 6)),
            ((38, 0), (38, 38), (38, 6)),
            ((38, 38), (38, 0), (38, 38)),
            ((20, 0), (30, 10), (38, 8)),
        ] {
            let decimal = |(precision, scale)| Decimal { precision, scale };
            assert_eq!(
                decimal(dividend).quotient(decimal(divisor)),
                decimal(quotient),
                "{dividend:?} / {divisor:?}"
            );
        }
    }
}
