use super::*;

const EVERY_TYPE: &[&str] = &[
    "unknown",
    "boolean",
    "tinyint",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double",
    "decimal(38,38)",
    "decimal(15,2)",
    "varchar",
    "varchar(25)",
    "char(3)",
    "varbinary",
    "json",
    "date",
    "time(0)",
    "time(2)",
    "time(3)",
    "time(6)",
    "time(9)",
    "time(12)",
    "timestamp(0)",
    "timestamp(1)",
    "timestamp(3)",
    "timestamp(5)",
    "timestamp(6)",
    "timestamp(9)",
    "timestamp(11)",
    "timestamp(3) with time zone",
    "timestamp(7) with time zone",
    "interval day to second",
    "interval year to month",
    "uuid",
    "array(json)",
    "map(varchar(3), array(char(2)))",
    "row(a bigint, varchar)",
    r##"row("#0" bigint, "" varchar(1))"##,
    "array(row(timestamp(4), x uuid))",
];

#[test]
fn every_type_comes_back_from_its_field() {
    for text in EVERY_TYPE {
        let original: Type = text.parse().unwrap();
        let field = arrow_field("c", &original, true);
        let back = Type::from_field(&field);
        if *text == r##"row("#0" bigint, "" varchar(1))"## {
            // A name that looks like that of an anonymous field is kept by the metadata, here and nowhere else.
            assert_eq!(field.metadata().get(TRINO_TYPE_METADATA_KEY).map(String::as_str), Some(*text));
        }
        assert_eq!(back, original, "{text}");
    }
}

#[test]
fn metadata_stands_only_where_the_arrow_type_says_too_little() {
    for (text, expected) in [
        ("bigint", None),
        ("varchar", None),
        ("timestamp(3)", None),
        ("uuid", None),
        ("array(double)", None),
        ("row(bigint, a varchar)", None),
        ("varchar(25)", Some("varchar(25)")),
        ("timestamp(1)", Some("timestamp(1)")),
        ("array(json)", Some("array(json)")),
    ] {
        let field = arrow_field("c", &text.parse().unwrap(), true);
        assert_eq!(field.metadata().get(TRINO_TYPE_METADATA_KEY).map(String::as_str), expected, "{text}");
    }
}

#[test]
fn metadata_that_contradicts_the_arrow_type_is_not_believed() {
    let claim = |data_type: DataType, text: &str| {
        let metadata = HashMap::from([(TRINO_TYPE_METADATA_KEY.to_owned(), text.to_owned())]);
        Type::from_field(&Field::new("c", data_type, true).with_metadata(metadata)).to_string()
    };
    assert_eq!(claim(DataType::Int64, "varchar(25)"), "bigint");
    assert_eq!(claim(DataType::Decimal128(12, 2), "decimal(10,2)"), "decimal(12,2)");
    assert_eq!(claim(DataType::Timestamp(TimeUnit::Nanosecond, None), "timestamp(3)"), "timestamp(9)");
    assert_eq!(
        claim(DataType::Timestamp(TimeUnit::Millisecond, None), "timestamp(3) with time zone"),
        "timestamp(3)"
    );
    assert_eq!(claim(DataType::Utf8View, "char(3)"), "char(3)");
    assert_eq!(claim(DataType::Utf8View, "no type"), "varchar");
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    assert_eq!(claim(dictionary, "varchar(2)"), "varchar(2)");
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    assert_eq!(claim(list, "array(json)"), "array(integer)");
}

#[test]
fn foreign_arrow_types_have_a_nearest_type() {
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    for (data_type, expected) in [
        (DataType::UInt8, "integer"),
        (DataType::UInt16, "integer"),
        (DataType::UInt32, "bigint"),
        (DataType::UInt64, "bigint"),
        (DataType::Float16, "real"),
        (DataType::LargeUtf8, "varchar"),
        (DataType::BinaryView, "varbinary"),
        (DataType::FixedSizeBinary(3), "varbinary"),
        (DataType::Date64, "date"),
        (DataType::Decimal32(9, 2), "decimal(9,2)"),
        (DataType::Decimal256(76, 10), "decimal(38,10)"),
        (DataType::Decimal256(76, 76), "decimal(38,38)"),
        (DataType::Decimal128(10, -2), "decimal(12,0)"),
        (DataType::Decimal128(2, 5), "decimal(5,5)"),
        (DataType::Duration(TimeUnit::Nanosecond), "interval day to second"),
        (DataType::Interval(IntervalUnit::MonthDayNano), "interval day to second"),
        (DataType::Interval(IntervalUnit::YearMonth), "interval year to month"),
        (DataType::Timestamp(TimeUnit::Second, Some("+05:30".into())), "timestamp(0) with time zone"),
        (DataType::LargeList(item(DataType::UInt32)), "array(bigint)"),
        (DataType::FixedSizeList(item(DataType::Utf8), 2), "array(varchar)"),
        (
            DataType::RunEndEncoded(
                Arc::new(Field::new("run_ends", DataType::Int32, false)),
                item(DataType::Utf8),
            ),
            "varchar",
        ),
    ] {
        assert_eq!(Type::from_arrow(&data_type).to_string(), expected, "{data_type}");
    }
}
