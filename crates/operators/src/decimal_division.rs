//! Division of decimals that rounds half up, as Trino's does; DataFusion's own cuts off.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, i256};
use base::{Error, ErrorCode};
use connector::error::into_datafusion;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// `a / b` on decimals, in the type that DataFusion gives the quotient.
///
/// Fails with `DIVISION_BY_ZERO`, and with `NUMERIC_VALUE_OUT_OF_RANGE` where the quotient has more digits than its type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DecimalDivision {
    signature: Signature,
}

impl Default for DecimalDivision {
    fn default() -> Self {
        DecimalDivision { signature: Signature::any(2, Volatility::Immutable) }
    }
}

/// How one column of quotients is computed.
struct Quotient {
    /// The dividend is multiplied by this first, so that the quotient has the scale of its type.
    factor: i256,
    /// The same, if it is small.
    small_factor: Option<i128>,
    /// The quotient must be smaller than this.
    limit: i256,
}

impl Quotient {
    fn new(dividend_scale: i8, divisor_scale: i8, precision: u8, scale: i8) -> Option<Self> {
        let exponent = i32::from(scale) - i32::from(dividend_scale) + i32::from(divisor_scale);
        let exponent = u32::try_from(exponent).ok()?;
        Some(Quotient {
            factor: i256::from_i128(10).checked_pow(exponent)?,
            small_factor: 10_i128.checked_pow(exponent),
            limit: i256::from_i128(10).checked_pow(u32::from(precision))?,
        })
    }

    fn of(&self, dividend: i128, divisor: i128) -> Result<i128> {
        if divisor == 0 {
            return Err(into_datafusion(Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")));
        }
        let small = self
            .small_factor
            .and_then(|factor| dividend.checked_mul(factor))
            .and_then(|dividend| rounded(dividend, divisor));
        let quotient = match small {
            Some(quotient) => Some(i256::from_i128(quotient)),
            None => i256::from_i128(dividend)
                .checked_mul(self.factor)
                .and_then(|dividend| rounded_wide(dividend, i256::from_i128(divisor))),
        };
        quotient.filter(|quotient| quotient.wrapping_abs() < self.limit).and_then(i256::to_i128).ok_or_else(
            || into_datafusion(Error::new(ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE, "Decimal overflow")),
        )
    }
}

/// None where a number on the way does not fit.
fn rounded(dividend: i128, divisor: i128) -> Option<i128> {
    let quotient = dividend.checked_div(divisor)?;
    let remainder = dividend.checked_rem(divisor)?.unsigned_abs();
    // Twice the remainder would not always fit.
    if remainder < divisor.unsigned_abs() - remainder {
        return Some(quotient);
    }
    let is_negative = (dividend < 0) != (divisor < 0);
    quotient.checked_add(if is_negative { -1 } else { 1 })
}

fn rounded_wide(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let remainder = dividend.checked_rem(divisor)?.wrapping_abs();
    if remainder < divisor.wrapping_abs().wrapping_sub(remainder) {
        return Some(quotient);
    }
    let is_negative = dividend.is_negative() != divisor.is_negative();
    quotient.checked_add(if is_negative { i256::MINUS_ONE } else { i256::ONE })
}

fn wrong_arguments() -> DataFusionError {
    into_datafusion(Error::internal("$operator$divide has wrong arguments"))
}

impl ScalarUDFImpl for DecimalDivision {
    fn name(&self) -> &str {
        "$operator$divide"
    }

    /// The name of the expression that the call stands for: columns keep the names they have.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        match arguments {
            [dividend, divisor] => Ok(format!("{} / {}", dividend.schema_name(), divisor.schema_name())),
            _ => Err(wrong_arguments()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType> {
        match argument_types {
            [dividend @ DataType::Decimal128(..), divisor @ DataType::Decimal128(..)] => {
                BinaryTypeCoercer::new(dividend, &Operator::Divide, divisor).get_result_type()
            }
            _ => Err(wrong_arguments()),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let fields = arguments.arg_fields;
        let data_types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
        let is_nullable = fields.iter().any(|field| field.is_nullable());
        let data_type = self.return_type(&data_types)?;
        Ok(Arc::new(Field::new(self.name(), data_type, is_nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let row_count = if is_constant { 1 } else { arguments.number_rows };
        let operands = arguments
            .args
            .iter()
            .map(|argument| argument.to_array(row_count))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let [dividends, divisors] = operands.as_slice() else {
            return Err(wrong_arguments());
        };
        let quotients = divide(dividends, divisors, arguments.return_field.data_type())?;
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&quotients, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(quotients)))
    }
}

fn divide(dividends: &ArrayRef, divisors: &ArrayRef, data_type: &DataType) -> Result<Decimal128Array> {
    let (Some(dividends), Some(divisors), DataType::Decimal128(precision, scale)) = (
        dividends.as_primitive_opt::<Decimal128Type>(),
        divisors.as_primitive_opt::<Decimal128Type>(),
        data_type,
    ) else {
        return Err(wrong_arguments());
    };
    let quotient =
        Quotient::new(dividends.scale(), divisors.scale(), *precision, *scale).ok_or_else(wrong_arguments)?;
    let quotients = dividends
        .iter()
        .zip(divisors)
        .map(|(dividend, divisor)| match (dividend, divisor) {
            (Some(dividend), Some(divisor)) => quotient.of(dividend, divisor).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<Decimal128Array>>()?;
    Ok(quotients.with_precision_and_scale(*precision, *scale)?)
}

#[cfg(test)]
mod tests {
    use connector::error::from_datafusion;

    use super::*;

    fn quotient(dividend: &str, divisor: &str, scales: (i8, i8)) -> base::Result<String> {
        let decimal = |text: &str, scale| {
            let value = text.parse::<i128>().unwrap();
            let array = Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale);
            Arc::new(array.unwrap()) as ArrayRef
        };
        let (dividends, divisors) = (decimal(dividend, scales.0), decimal(divisor, scales.1));
        let types = [dividends.data_type().clone(), divisors.data_type().clone()];
        DecimalDivision::default()
            .return_type(&types)
            .and_then(|data_type| divide(&dividends, &divisors, &data_type))
            .map(|quotients| quotients.value_as_string(0))
            .map_err(|error| from_datafusion(&error))
    }

    #[test]
    fn quotients_are_rounded_half_up() {
        for (dividend, divisor, expected) in [
            ("200", "300", "0.666667"),
            ("-200", "300", "-0.666667"),
            ("200", "-300", "-0.666667"),
            ("-200", "-300", "0.666667"),
            ("100", "300", "0.333333"),
            // A half goes away from zero.
            ("1", "2000000", "0.000001"),
            ("-1", "2000000", "-0.000001"),
            ("1", "2000001", "0.000000"),
            ("0", "-5", "0.000000"),
        ] {
            assert_eq!(quotient(dividend, divisor, (2, 2)).unwrap(), expected, "{dividend} / {divisor}");
        }
    }

    #[test]
    fn large_numbers_are_divided_exactly() {
        let nines = "9".repeat(38);
        assert_eq!(quotient(&nines, &nines, (2, 2)).unwrap(), "1.000000");
        assert_eq!(quotient("1", &nines, (2, 0)).unwrap(), "0.000000");
        // All digits are there before the point, none is left for the scale of the quotient.
        let error = quotient(&nines, "100", (0, 2)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE);
        assert_eq!(error.message(), "Decimal overflow");
    }

    #[test]
    fn division_by_zero_is_the_users_error() {
        let error = quotient("1", "0", (2, 2)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DIVISION_BY_ZERO);
        assert_eq!(error.message(), "Division by zero");
    }
}
