//! Reads the text forms of types.

use std::str::FromStr;

use base::{Error, ErrorCode, Result};

use crate::trino_type::{RowField, Type};

/// How deep types may be nested in a text.
const NESTING_DEPTH_MAX: usize = 100;

impl FromStr for Type {
    type Err = Error;

    /// Reads a type as SQL has it. Case does not matter, except in quoted names of fields.
    ///
    /// # Errors
    ///
    /// `TYPE_NOT_FOUND` with Trino's text for whatever is no type, `INVALID_FUNCTION_ARGUMENT` for a parameter
    /// out of range.
    fn from_str(text: &str) -> Result<Type> {
        let unknown = || Error::new(ErrorCode::TYPE_NOT_FOUND, format!("Unknown type: {text}"));
        let tokens = tokens(text).ok_or_else(unknown)?;
        let mut parser = Parser { tokens: &tokens };
        match parser.trino_type(0) {
            Ok(parsed) if parser.tokens.is_empty() => Ok(parsed),
            Ok(_) | Err(Fault::Unknown) => Err(unknown()),
            Err(Fault::Parameter(message)) => Err(Error::new(ErrorCode::INVALID_FUNCTION_ARGUMENT, message)),
        }
    }
}

enum Fault {
    /// No type has that form.
    Unknown,
    /// There is such a type, but not with this parameter.
    Parameter(String),
}

#[derive(Debug, PartialEq)]
enum Token {
    /// In lower case.
    Word(String),
    Quoted(String),
    Number(u64),
    Symbol(char),
}

/// None if there is something that no type has.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            _ if c.is_whitespace() => {}
            '(' | ')' | ',' | '<' | '>' => found.push(Token::Symbol(c)),
            '"' => {
                let mut name = String::new();
                loop {
                    match rest.next()? {
                        '"' if rest.next_if_eq(&'"').is_some() => name.push('"'),
                        '"' => break,
                        other => name.push(other),
                    }
                }
                found.push(Token::Quoted(name));
            }
            _ if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(next) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(next);
                }
                found.push(match word.parse() {
                    Ok(number) => Token::Number(number),
                    Err(_) => Token::Word(word.to_lowercase()),
                });
            }
            _ => return None,
        }
    }
    Some(found)
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// The word that many tokens ahead.
    fn peek_word(&self, ahead: usize) -> Option<&'a str> {
        match self.tokens.get(ahead) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn take_symbol(&mut self, symbol: char) -> bool {
        let taken = self.tokens.first() == Some(&Token::Symbol(symbol));
        if taken {
            self.tokens = &self.tokens[1..];
        }
        taken
    }

    fn expect_symbol(&mut self, symbol: char) -> Result<(), Fault> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(Fault::Unknown) }
    }

    fn take_words(&mut self, words: &[&str]) -> bool {
        let taken = words.iter().enumerate().all(|(at, word)| self.peek_word(at) == Some(word));
        if taken {
            self.tokens = &self.tokens[words.len()..];
        }
        taken
    }

    fn trino_type(&mut self, depth: usize) -> Result<Type, Fault> {
        if depth > NESTING_DEPTH_MAX {
            return Err(Fault::Unknown);
        }
        let name = match self.next() {
            Some(Token::Word(name)) => name.as_str(),
            // Trino takes the name of a simple type in quotes, too.
            Some(Token::Quoted(name)) => name.as_str(),
            _ => return Err(Fault::Unknown),
        };
        Ok(match name {
            "unknown" => Type::Unknown,
            "boolean" => Type::Boolean,
            "tinyint" => Type::Tinyint,
            "smallint" => Type::Smallint,
            "int" | "integer" => Type::Integer,
            "bigint" => Type::Bigint,
            "real" => Type::Real,
            "double" => {
                self.take_words(&["precision"]);
                Type::Double
            }
            "decimal" | "dec" => self.decimal()?,
            "varchar" => self.varchar()?,
            "char" => self.char()?,
            "varbinary" => Type::Varbinary,
            "json" => Type::Json,
            "date" => Type::Date,
            "uuid" => Type::Uuid,
            "time" => {
                let precision = self.datetime_precision("TIME")?;
                if self.take_words(&["with", "time", "zone"]) {
                    return Err(Fault::Unknown);
                }
                self.take_words(&["without", "time", "zone"]);
                Type::Time { precision }
            }
            "timestamp" => {
                let precision = self.datetime_precision("TIMESTAMP")?;
                if self.take_words(&["with", "time", "zone"]) {
                    Type::TimestampWithTimeZone { precision }
                } else {
                    self.take_words(&["without", "time", "zone"]);
                    Type::Timestamp { precision }
                }
            }
            "interval" if self.take_words(&["day", "to", "second"]) => Type::IntervalDayToSecond,
            "interval" if self.take_words(&["year", "to", "month"]) => Type::IntervalYearToMonth,
            "array" => {
                let close = self.open()?;
                let element = self.trino_type(depth + 1)?;
                self.expect_symbol(close)?;
                Type::Array(Box::new(element))
            }
            "map" => {
                let close = self.open()?;
                let key = self.trino_type(depth + 1)?;
                self.expect_symbol(',')?;
                let value = self.trino_type(depth + 1)?;
                self.expect_symbol(close)?;
                Type::Map(Box::new(key), Box::new(value))
            }
            "row" => self.row(depth)?,
            _ => return Err(Fault::Unknown),
        })
    }

    /// `(` or the older `<`; returns what closes it.
    fn open(&mut self) -> Result<char, Fault> {
        if self.take_symbol('<') {
            return Ok('>');
        }
        self.expect_symbol('(')?;
        Ok(')')
    }

    fn row(&mut self, depth: usize) -> Result<Type, Fault> {
        self.expect_symbol('(')?;
        let mut fields = Vec::new();
        loop {
            let name = if self.at_field_name() {
                match self.next() {
                    Some(Token::Word(name) | Token::Quoted(name)) => Some(name.clone()),
                    _ => return Err(Fault::Unknown),
                }
            } else {
                None
            };
            fields.push(RowField { name, field_type: self.trino_type(depth + 1)? });
            if !self.take_symbol(',') {
                break;
            }
        }
        self.expect_symbol(')')?;
        Ok(Type::Row(fields))
    }

    /// Whether a field of a row starts here with its name: if something follows that is not the rest of a type.
    fn at_field_name(&self) -> bool {
        let first = match &self.tokens {
            [Token::Word(first), Token::Word(_) | Token::Quoted(_), ..] => first.as_str(),
            [Token::Quoted(_), Token::Word(_) | Token::Quoted(_), ..] => return true,
            _ => return false,
        };
        let third = self.peek_word(2);
        !match (first, self.peek_word(1)) {
            ("double", Some("precision")) => true,
            ("time" | "timestamp", Some("with" | "without")) => third == Some("time"),
            ("interval", Some("day" | "year")) => third == Some("to"),
            _ => false,
        }
    }

    /// The parameters in parentheses, none if there are no parentheses.
    fn parameters(&mut self) -> Result<Vec<u64>, Fault> {
        let mut parameters = Vec::new();
        if self.take_symbol('(') {
            loop {
                match self.next() {
                    Some(Token::Number(number)) => parameters.push(*number),
                    _ => return Err(Fault::Unknown),
                }
                if !self.take_symbol(',') {
                    break;
                }
            }
            self.expect_symbol(')')?;
        }
        Ok(parameters)
    }

    fn decimal(&mut self) -> Result<Type, Fault> {
        let (precision, scale) = match self.parameters()?[..] {
            [] => (u64::from(Type::DECIMAL_PRECISION_MAX), 0),
            [precision] => (precision, 0),
            [precision, scale] => (precision, scale),
            _ => return Err(Fault::Unknown),
        };
        let max = Type::DECIMAL_PRECISION_MAX;
        match (u8::try_from(precision), u8::try_from(scale)) {
            (Ok(precision), _) if precision == 0 || precision > max => {}
            (Ok(precision), Ok(scale)) if scale <= precision => {
                return Ok(Type::Decimal { precision, scale });
            }
            (Ok(precision), _) => {
                let range = format!("[0, precision ({precision})]");
                return Err(Fault::Parameter(format!("DECIMAL scale must be in range {range}: {scale}")));
            }
            _ => {}
        }
        Err(Fault::Parameter(format!("DECIMAL precision must be in range [1, {max}]: {precision}")))
    }

    fn varchar(&mut self) -> Result<Type, Fault> {
        let length = match self.parameters()?[..] {
            [] => return Ok(Type::VARCHAR),
            [length] => length,
            _ => return Err(Fault::Unknown),
        };
        match u32::try_from(length) {
            Ok(Type::VARCHAR_LENGTH_UNBOUNDED) => Ok(Type::VARCHAR),
            Ok(length) if length < Type::VARCHAR_LENGTH_UNBOUNDED => {
                Ok(Type::Varchar { length: Some(length) })
            }
            _ => Err(Fault::Parameter(format!("Invalid VARCHAR length {length}"))),
        }
    }

    fn char(&mut self) -> Result<Type, Fault> {
        let length = match self.parameters()?[..] {
            [] => 1,
            [length] => length,
            _ => return Err(Fault::Unknown),
        };
        let max = Type::CHAR_LENGTH_MAX;
        match u32::try_from(length) {
            Ok(length) if length <= max => Ok(Type::Char { length }),
            _ => Err(Fault::Parameter(format!("CHAR length must be in range [0, {max}], got {length}"))),
        }
    }

    fn datetime_precision(&mut self, name: &str) -> Result<u8, Fault> {
        let precision = match self.parameters()?[..] {
            [] => return Ok(Type::DATETIME_PRECISION_DEFAULT),
            [precision] => precision,
            _ => return Err(Fault::Unknown),
        };
        let max = Type::DATETIME_PRECISION_MAX;
        match u8::try_from(precision) {
            Ok(precision) if precision <= max => Ok(precision),
            _ => Err(Fault::Parameter(format!("{name} precision must be in range [0, {max}]: {precision}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_round_trips() {
        for text in [
            "unknown",
            "boolean",
            "tinyint",
            "smallint",
            "integer",
            "bigint",
            "real",
            "double",
            "decimal(38,0)",
            "decimal(10,2)",
            "varchar",
            "varchar(25)",
            "varchar(0)",
            "char(3)",
            "varbinary",
            "json",
            "date",
            "time(0)",
            "time(12)",
            "timestamp(3)",
            "timestamp(12)",
            "timestamp(0) with time zone",
            "interval day to second",
            "interval year to month",
            "uuid",
            "array(array(double))",
            "map(varchar, array(bigint))",
            "row(a bigint, varchar)",
            "array(row(a bigint, b row(timestamp(3) with time zone, interval day to second)))",
            r#"row("A b" decimal(3,1), "order" date)"#,
            "row(date date, timestamp timestamp(3))",
        ] {
            assert_eq!(text.parse::<Type>().map(|parsed| parsed.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn other_spellings_mean_the_same() {
        for (text, canonical) in [
            ("INT", "integer"),
            (" Double  Precision ", "double"),
            ("decimal", "decimal(38,0)"),
            ("DECIMAL(10)", "decimal(10,0)"),
            ("decimal(15, 2)", "decimal(15,2)"),
            ("varchar(2147483647)", "varchar"),
            ("char", "char(1)"),
            ("time", "time(3)"),
            ("timestamp", "timestamp(3)"),
            ("timestamp without time zone", "timestamp(3)"),
            ("TIMESTAMP WITH TIME ZONE", "timestamp(3) with time zone"),
            ("timestamp (6)  with time zone", "timestamp(6) with time zone"),
            ("array<map<int, varchar>>", "array(map(integer, varchar))"),
            (
                "ROW(A BIGINT, double precision, timestamp with time zone)",
                "row(a bigint, double, timestamp(3) with time zone)",
            ),
            ("row(interval day to second, double double)", "row(interval day to second, double double)"),
        ] {
            assert_eq!(
                text.parse::<Type>().map(|parsed| parsed.to_string()).as_deref(),
                Ok(canonical),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_type_is_not_found() {
        for text in [
            "",
            "foo",
            "bigint)",
            "bigint(3)",
            "array",
            "array()",
            "array(bigint",
            "map(bigint)",
            "row()",
            "row(a)",
            "row(a bigint,)",
            "decimal(1,2,3)",
            "decimal(a)",
            "interval day",
            "varchar(25",
            "\"",
            "a;b",
            "time with time zone",
        ] {
            let error = text.parse::<Type>().unwrap_err();
            assert_eq!(error.code(), ErrorCode::TYPE_NOT_FOUND, "{text}");
            assert_eq!(error.message(), format!("Unknown type: {text}"));
        }
    }

    #[test]
    fn parameters_out_of_range_are_told() {
        for (text, message) in [
            ("decimal(39)", "DECIMAL precision must be in range [1, 38]: 39"),
            ("decimal(0,0)", "DECIMAL precision must be in range [1, 38]: 0"),
            ("decimal(999,0)", "DECIMAL precision must be in range [1, 38]: 999"),
            ("decimal(10,11)", "DECIMAL scale must be in range [0, precision (10)]: 11"),
            ("decimal(10,999)", "DECIMAL scale must be in range [0, precision (10)]: 999"),
            ("varchar(2147483648)", "Invalid VARCHAR length 2147483648"),
            ("char(65537)", "CHAR length must be in range [0, 65536], got 65537"),
            ("timestamp(13)", "TIMESTAMP precision must be in range [0, 12]: 13"),
            ("time(300)", "TIME precision must be in range [0, 12]: 300"),
        ] {
            let error = text.parse::<Type>().unwrap_err();
            assert_eq!((error.code(), error.message()), (ErrorCode::INVALID_FUNCTION_ARGUMENT, message));
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = |levels: usize| format!("{}bigint{}", "array(".repeat(levels), ")".repeat(levels));
        assert!(deep(NESTING_DEPTH_MAX).parse::<Type>().is_ok());
        assert!(deep(1_000_000).parse::<Type>().is_err());
    }
}
