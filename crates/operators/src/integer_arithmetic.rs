//! Arithmetic on integers that fails where the result does not fit, instead of wrapping around.
//!
//! DataFusion's own operators wrap, and a flag of theirs that forbids it does not travel to workers. So these are
//! functions, with the names Trino gives to operators.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, FieldRef, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use base::{Error, ErrorCode};
use connector::error::into_datafusion;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// An operator on integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntegerOperator {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `-a`
    Negate,
}

impl IntegerOperator {
    /// Every operator there is.
    pub const ALL: [IntegerOperator; 4] =
        [IntegerOperator::Add, IntegerOperator::Subtract, IntegerOperator::Multiply, IntegerOperator::Negate];

    /// The operator that an expression applies, if it is one of these.
    pub fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(IntegerOperator::Add),
            Operator::Minus => Some(IntegerOperator::Subtract),
            Operator::Multiply => Some(IntegerOperator::Multiply),
            _ => None,
        }
    }

    fn function_name(self) -> &'static str {
        match self {
            IntegerOperator::Add => "$operator$add",
            IntegerOperator::Subtract => "$operator$subtract",
            IntegerOperator::Multiply => "$operator$multiply",
            IntegerOperator::Negate => "$operator$negation",
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            IntegerOperator::Add => "+",
            IntegerOperator::Subtract | IntegerOperator::Negate => "-",
            IntegerOperator::Multiply => "*",
        }
    }

    fn argument_count(self) -> usize {
        match self {
            IntegerOperator::Negate => 1,
            _ => 2,
        }
    }

    fn evaluate(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self {
            IntegerOperator::Add => numeric::add(left, right),
            IntegerOperator::Subtract => numeric::sub(left, right),
            IntegerOperator::Multiply => numeric::mul(left, right),
            IntegerOperator::Negate => numeric::neg(left.get().0),
        }
    }

    fn fits(self, left: i64, right: i64, min: i64, max: i64) -> bool {
        let result = match self {
            IntegerOperator::Add => left.checked_add(right),
            IntegerOperator::Subtract => left.checked_sub(right),
            IntegerOperator::Multiply => left.checked_mul(right),
            IntegerOperator::Negate => left.checked_neg(),
        };
        result.is_some_and(|result| (min..=max).contains(&result))
    }

    /// Trino's text.
    fn overflow(self, type_name: &str, left: i64, right: i64) -> Error {
        let text = match self {
            IntegerOperator::Add => format!("{type_name} addition overflow: {left} + {right}"),
            IntegerOperator::Subtract => format!("{type_name} subtraction overflow: {left} - {right}"),
            IntegerOperator::Multiply => format!("{type_name} multiplication overflow: {left} * {right}"),
            IntegerOperator::Negate => format!("{type_name} negation overflow: {left}"),
        };
        Error::new(ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE, text)
    }
}

/// Whether a type is one of Trino's integers.
pub fn is_trino_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// An operator as a function: `NUMERIC_VALUE_OUT_OF_RANGE` where its result does not fit the type of its arguments.
///
/// All arguments have the same type, [an integer](is_trino_integer).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IntegerArithmetic {
    operator: IntegerOperator,
    signature: Signature,
}

impl IntegerArithmetic {
    /// The function of an operator.
    pub fn new(operator: IntegerOperator) -> Self {
        IntegerArithmetic {
            operator,
            signature: Signature::any(operator.argument_count(), Volatility::Immutable),
        }
    }

    /// The functions of all operators.
    pub fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
        IntegerOperator::ALL
            .into_iter()
            .map(|operator| Arc::new(ScalarUDF::from(IntegerArithmetic::new(operator))))
    }

    fn wrong_arguments(&self) -> DataFusionError {
        let text = format!("{} has wrong arguments", self.operator.function_name());
        into_datafusion(Error::internal(text))
    }

    /// The error of the first row whose result does not fit; `failure` if there is none.
    fn explain(
        &self,
        left: &ColumnarValue,
        right: &ColumnarValue,
        row_count: usize,
        failure: DataFusionError,
    ) -> DataFusionError {
        let explained = || -> Result<Option<Error>> {
            let (left, right) = (left.to_array(row_count)?, right.to_array(row_count)?);
            Ok(match left.data_type() {
                DataType::Int8 => self.first_overflow::<Int8Type>("tinyint", &left, &right),
                DataType::Int16 => self.first_overflow::<Int16Type>("smallint", &left, &right),
                DataType::Int32 => self.first_overflow::<Int32Type>("integer", &left, &right),
                DataType::Int64 => self.first_overflow::<Int64Type>("bigint", &left, &right),
                _ => None,
            })
        };
        match explained() {
            Ok(Some(error)) => into_datafusion(error),
            _ => failure,
        }
    }

    fn first_overflow<T>(&self, type_name: &str, left: &ArrayRef, right: &ArrayRef) -> Option<Error>
    where
        T: ArrowPrimitiveType<Native: Into<i64> + Bounded>,
    {
        let left = left.as_primitive_opt::<T>()?.iter();
        let right = right.as_primitive_opt::<T>()?.iter();
        left.zip(right).find_map(|(left, right)| {
            let (left, right) = (left?.into(), right?.into());
            let fits = self.operator.fits(left, right, T::Native::MIN, T::Native::MAX);
            (!fits).then(|| self.operator.overflow(type_name, left, right))
        })
    }
}

/// The range of an integer type.
trait Bounded {
    const MIN: i64;
    const MAX: i64;
}

impl Bounded for i8 {
    const MIN: i64 = i8::MIN as i64;
    const MAX: i64 = i8::MAX as i64;
}

impl Bounded for i16 {
    const MIN: i64 = i16::MIN as i64;
    const MAX: i64 = i16::MAX as i64;
}

impl Bounded for i32 {
    const MIN: i64 = i32::MIN as i64;
    const MAX: i64 = i32::MAX as i64;
}

impl Bounded for i64 {
    const MIN: i64 = i64::MIN;
    const MAX: i64 = i64::MAX;
}

impl ScalarUDFImpl for IntegerArithmetic {
    fn name(&self) -> &str {
        self.operator.function_name()
    }

    /// The name of the expression that the call stands for: columns keep the names they have.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let (mut first, second) = match arguments {
            [first, second] => (first, second),
            [argument] => return Ok(format!("(- {})", argument.schema_name())),
            _ => return Err(self.wrong_arguments()),
        };
        // A long sum is a chain of calls, each of which would make the name of all before it anew.
        let mut rest = vec![(self.operator.symbol(), second)];
        while let Some((operator, [before, last])) = call_of(first) {
            rest.push((operator.symbol(), last));
            first = before;
        }
        let mut name = first.schema_name().to_string();
        for (symbol, operand) in rest.into_iter().rev() {
            name.push_str(&format!(" {symbol} {}", operand.schema_name()));
        }
        Ok(name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType> {
        match argument_types {
            [first, rest @ ..]
                if rest.len() + 1 == self.operator.argument_count()
                    && is_trino_integer(first)
                    && rest.iter().all(|other| other == first) =>
            {
                Ok(first.clone())
            }
            _ => Err(self.wrong_arguments()),
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
        let (left, right) = match arguments.args.as_slice() {
            [left, right] => (left, right),
            [argument] => (argument, argument),
            _ => return Err(self.wrong_arguments()),
        };
        apply(left, right, |left, right| self.operator.evaluate(left, right))
            .map_err(|failure| self.explain(left, right, arguments.number_rows, failure))
    }
}

/// The operator and the arguments of a call of one of these functions.
fn call_of(expr: &Expr) -> Option<(IntegerOperator, &[Expr])> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let function = call.func.inner().downcast_ref::<IntegerArithmetic>()?;
    Some((function.operator, &call.args))
}

/// The call of an operator's function.
pub fn integer_arithmetic(operator: IntegerOperator, arguments: Vec<Expr>) -> Expr {
    ScalarUDF::from(IntegerArithmetic::new(operator)).call(arguments)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int8Array, Int64Array};
    use connector::error::from_datafusion;
    use datafusion::common::ScalarValue;
    use datafusion::config::ConfigOptions;

    use super::*;

    fn invoke(
        operator: IntegerOperator,
        arguments: Vec<ColumnarValue>,
        row_count: usize,
    ) -> base::Result<ArrayRef> {
        let field = |value: &ColumnarValue| Arc::new(Field::new("x", value.data_type(), true));
        let arg_fields: Vec<FieldRef> = arguments.iter().map(field).collect();
        let arguments = ScalarFunctionArgs {
            return_field: Arc::clone(&arg_fields[0]),
            arg_fields,
            args: arguments,
            number_rows: row_count,
            config_options: Arc::new(ConfigOptions::new()),
        };
        IntegerArithmetic::new(operator)
            .invoke_with_args(arguments)
            .and_then(|value| value.to_array(row_count))
            .map_err(|error| from_datafusion(&error))
    }

    fn column(values: impl Array + 'static) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(values))
    }

    fn constant(value: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value)))
    }

    #[test]
    fn what_fits_is_computed_and_null_stays_null() {
        let values = || column(Int64Array::from(vec![Some(1), None, Some(-7)]));
        for (operator, expected) in [
            (IntegerOperator::Add, [Some(11), None, Some(3)]),
            (IntegerOperator::Subtract, [Some(-9), None, Some(-17)]),
            (IntegerOperator::Multiply, [Some(10), None, Some(-70)]),
        ] {
            let found = invoke(operator, vec![values(), constant(10)], 3).unwrap();
            assert_eq!(found.as_primitive::<Int64Type>(), &Int64Array::from(expected.to_vec()));
        }
        let found = invoke(IntegerOperator::Negate, vec![values()], 3).unwrap();
        assert_eq!(found.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(-1), None, Some(7)]));
    }

    #[test]
    fn the_first_row_that_does_not_fit_is_named() {
        let min = i64::MIN;
        let max = i64::MAX;
        let big = || column(Int64Array::from(vec![Some(3), None, Some(max), Some(min)]));
        for (operator, right, text) in [
            (IntegerOperator::Add, 1, format!("bigint addition overflow: {max} + 1")),
            (IntegerOperator::Subtract, 1, format!("bigint subtraction overflow: {min} - 1")),
            (IntegerOperator::Multiply, 2, format!("bigint multiplication overflow: {max} * 2")),
        ] {
            let error = invoke(operator, vec![big(), constant(right)], 4).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE);
            assert_eq!(error.message(), text);
        }
        let error = invoke(IntegerOperator::Negate, vec![big()], 4).unwrap_err();
        assert_eq!(error.message(), format!("bigint negation overflow: {min}"));
    }

    #[test]
    fn calls_are_named_as_the_expressions_they_stand_for() {
        let column = |name: &str| Expr::Column(datafusion::common::Column::from_name(name));
        let call = |operator, arguments: &[Expr]| integer_arithmetic(operator, arguments.to_vec());
        let sum = call(IntegerOperator::Add, &[column("a"), column("b")]);
        let difference = call(IntegerOperator::Subtract, &[sum, column("c")]);
        let negated = call(IntegerOperator::Negate, std::slice::from_ref(&difference));
        let product = call(IntegerOperator::Multiply, &[difference, negated]);
        let expected = (column("a") + column("b") - column("c"))
            * Expr::Negative(Box::new(column("a") + column("b") - column("c")));
        assert_eq!(product.schema_name().to_string(), expected.schema_name().to_string());
    }

    #[test]
    fn constants_and_small_types_fail_too() {
        let error = invoke(IntegerOperator::Add, vec![constant(i64::MAX), constant(1)], 1).unwrap_err();
        assert_eq!(error.message(), "bigint addition overflow: 9223372036854775807 + 1");
        let tiny = || column(Int8Array::from(vec![100, 27]));
        let error = invoke(IntegerOperator::Add, vec![tiny(), tiny()], 2).unwrap_err();
        assert_eq!(error.message(), "tinyint addition overflow: 100 + 100");
    }
}
