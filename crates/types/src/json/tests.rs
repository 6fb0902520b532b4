use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use base::ErrorCode;
use serde_json::Value;

use super::*;

fn column(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// The text of a result of one column.
fn encode_for(type_name: &str, array: ArrayRef, capabilities: ClientCapabilities) -> Result<String> {
    let column_type: Type = type_name.parse()?;
    let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
    let rows = RowEncoder::new(vec![column_type.clone()], capabilities).rows(&batch)?;
    let mut page = JsonRows::new();
    assert_eq!(page.push(&rows, 0, usize::MAX), batch.num_rows());
    let text = page.finish();
    let parsed: Value = serde_json::from_str(&text).unwrap();
    for row in parsed.as_array().unwrap() {
        decode_strictly(&column_type, &row[0]);
    }
    Ok(text)
}

fn encode(type_name: &str, array: ArrayRef) -> String {
    encode_for(type_name, array, ClientCapabilities::ALL).unwrap()
}

/// What the Java client accepts for a type, and nothing else.
fn decode_strictly(column_type: &Type, value: &Value) {
    if value.is_null() {
        return;
    }
    let accepted = match column_type {
        Type::Boolean => value.is_boolean(),
        Type::Tinyint | Type::Smallint | Type::Integer | Type::Bigint => value.is_i64(),
        Type::Real | Type::Double => value.is_f64() || value.is_string(),
        Type::Array(element) => value.as_array().is_some_and(|values| {
            values.iter().for_each(|value| decode_strictly(element, value));
            true
        }),
        Type::Map(_, inner) => value.as_object().is_some_and(|entries| {
            entries.values().for_each(|value| decode_strictly(inner, value));
            true
        }),
        Type::Row(fields) => value.as_array().is_some_and(|values| {
            fields.iter().zip(values).for_each(|(field, value)| decode_strictly(&field.field_type, value));
            values.len() == fields.len()
        }),
        _ => value.is_string(),
    };
    assert!(accepted, "{column_type} does not take {value}");
}

#[test]
fn plain_values() {
    assert_eq!(encode("boolean", column(BooleanArray::from(vec![Some(true), None]))), "[[true],[null]]");
    assert_eq!(encode("tinyint", column(Int8Array::from(vec![-128]))), "[[-128]]");
    assert_eq!(
        encode("bigint", column(Int64Array::from(vec![i64::MIN, i64::MAX]))),
        "[[-9223372036854775808],[9223372036854775807]]"
    );
    assert_eq!(encode("real", column(Float32Array::from(vec![1.0, f32::NAN]))), "[[1.0],[\"NaN\"]]");
    assert_eq!(
        encode("double", column(Float64Array::from(vec![1.0, 1e10, f64::NEG_INFINITY]))),
        "[[1.0],[1.0E10],[\"-Infinity\"]]"
    );
    let decimals = Decimal128Array::from(vec![12340, -1]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(encode("decimal(10,2)", column(decimals)), "[[\"123.40\"],[\"-0.01\"]]");
    assert_eq!(encode("unknown", column(NullArray::new(2))), "[[null],[null]]");
    assert_eq!(encode("bigint", column(NullArray::new(1))), "[[null]]");
}

#[test]
fn strings_and_bytes() {
    let strings = vec!["a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é🦀/"];
    let expected = "[[\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001F\u{7f}é🦀/\"]]";
    assert_eq!(encode("varchar", column(StringArray::from(strings.clone()))), expected);
    assert_eq!(encode("varchar(99)", column(StringViewArray::from(strings.clone()))), expected);
    assert_eq!(encode("json", column(LargeStringArray::from(strings))), expected);
    assert_eq!(
        encode("char(3)", column(StringArray::from(vec!["é", "", "abc"]))),
        "[[\"é  \"],[\"   \"],[\"abc\"]]"
    );
    let bytes: Vec<&[u8]> = vec![b"", b"a", b"\xff\xfe\xfd"];
    assert_eq!(
        encode("varbinary", column(BinaryArray::from(bytes.clone()))),
        "[[\"\"],[\"YQ==\"],[\"//79\"]]"
    );
    assert_eq!(encode("varbinary", column(BinaryViewArray::from(bytes))), "[[\"\"],[\"YQ==\"],[\"//79\"]]");
    let uuid =
        FixedSizeBinaryArray::try_from_iter([(0..16).map(|byte| byte * 17).collect::<Vec<u8>>()].iter())
            .unwrap();
    assert_eq!(encode("uuid", column(uuid)), "[[\"00112233-4455-6677-8899-aabbccddeeff\"]]");
}

#[test]
fn dates_and_times() {
    assert_eq!(
        encode("date", column(Date32Array::from(vec![18_292, -1]))),
        "[[\"2020-01-31\"],[\"1969-12-31\"]]"
    );
    assert_eq!(encode("date", column(Date64Array::from(vec![86_400_000]))), "[[\"1970-01-02\"]]");
    assert_eq!(encode("time(0)", column(Time32SecondArray::from(vec![3723]))), "[[\"01:02:03\"]]");
    assert_eq!(
        encode("time(3)", column(Time32MillisecondArray::from(vec![3_723_004]))),
        "[[\"01:02:03.004\"]]"
    );
    assert_eq!(encode("time(9)", column(Time64NanosecondArray::from(vec![1]))), "[[\"00:00:00.000000001\"]]");
    assert_eq!(
        encode("time(12)", column(Time64NanosecondArray::from(vec![1]))),
        "[[\"00:00:00.000000001000\"]]"
    );
}

#[test]
fn timestamps_have_the_digits_of_their_type() {
    let micros = 1_577_840_523_123_456;
    assert_eq!(
        encode("timestamp(6)", column(TimestampMicrosecondArray::from(vec![micros, -1]))),
        "[[\"2020-01-01 01:02:03.123456\"],[\"1969-12-31 23:59:59.999999\"]]"
    );
    assert_eq!(
        encode("timestamp(0)", column(TimestampSecondArray::from(vec![0]))),
        "[[\"1970-01-01 00:00:00\"]]"
    );
    assert_eq!(
        encode("timestamp(1)", column(TimestampMillisecondArray::from(vec![500]))),
        "[[\"1970-01-01 00:00:00.5\"]]"
    );
    assert_eq!(
        encode("timestamp(9)", column(TimestampNanosecondArray::from(vec![-1]))),
        "[[\"1969-12-31 23:59:59.999999999\"]]"
    );
    assert_eq!(
        encode(
            "timestamp(3)",
            column(TimestampMillisecondArray::from(vec![253_402_300_800_000, -62_167_219_200_001]))
        ),
        "[[\"+10000-01-01 00:00:00.000\"],[\"-0001-12-31 23:59:59.999\"]]"
    );
    for extreme in [i64::MIN, i64::MAX] {
        encode("timestamp(0)", column(TimestampSecondArray::from(vec![extreme])));
    }
}

#[test]
fn timestamps_with_time_zone_show_the_zone_of_the_column() {
    for (zone, expected) in [
        ("UTC", "2020-07-01 01:02:03.123 UTC"),
        ("+00:00", "2020-07-01 01:02:03.123 UTC"),
        ("+05:30", "2020-07-01 06:32:03.123 +05:30"),
        ("-08:00", "2020-06-30 17:02:03.123 -08:00"),
        ("America/New_York", "2020-06-30 21:02:03.123 America/New_York"),
    ] {
        let array = TimestampMillisecondArray::from(vec![1_593_565_323_123]).with_timezone(zone);
        assert_eq!(encode("timestamp(3) with time zone", column(array)), format!("[[\"{expected}\"]]"));
    }
}

#[test]
fn clients_without_parametric_datetime_get_milliseconds_rounded() {
    let old = |type_name: &str, array| encode_for(type_name, array, ClientCapabilities::default()).unwrap();
    assert_eq!(
        old("timestamp(6)", column(TimestampMicrosecondArray::from(vec![499, 500, -500, -501, 999_999_500]))),
        "[[\"1970-01-01 00:00:00.000\"],[\"1970-01-01 00:00:00.001\"],[\"1970-01-01 00:00:00.000\"],\
         [\"1969-12-31 23:59:59.999\"],[\"1970-01-01 00:16:40.000\"]]"
    );
    assert_eq!(
        old("timestamp(0)", column(TimestampSecondArray::from(vec![1]))),
        "[[\"1970-01-01 00:00:01.000\"]]"
    );
    assert_eq!(
        old("time(6)", column(Time64MicrosecondArray::from(vec![86_399_999_999]))),
        "[[\"00:00:00.000\"]]"
    );
}

#[test]
fn intervals() {
    let millis = 3 * 86_400_000 + 14_706_789;
    assert_eq!(
        encode("interval day to second", column(DurationMillisecondArray::from(vec![millis, -millis, 0]))),
        "[[\"3 04:05:06.789\"],[\"-3 04:05:06.789\"],[\"0 00:00:00.000\"]]"
    );
    assert_eq!(
        encode("interval day to second", column(DurationMillisecondArray::from(vec![i64::MIN]))),
        "[[\"-106751991167 07:12:55.808\"]]"
    );
    let mixed = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(0, 1, 1_500_000)]);
    assert_eq!(encode("interval day to second", column(mixed)), "[[\"1 00:00:00.001\"]]");
    let months = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 1, 0)]);
    let error = encode_for("interval day to second", column(months), ClientCapabilities::ALL).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NOT_SUPPORTED);
    assert_eq!(
        encode("interval year to month", column(IntervalYearMonthArray::from(vec![27, -5, i32::MIN]))),
        "[[\"2-3\"],[\"-0-5\"],[\"-178956970-8\"]]"
    );
}

#[test]
fn nested_values() {
    let arrays = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    assert_eq!(encode("array(integer)", column(arrays.clone())), "[[[1,null]],[null],[[]]]");
    assert_eq!(encode("array(integer)", column(arrays.slice(1, 2))), "[[null],[[]]]");
    let large = LargeListArray::from_iter_primitive::<Float64Type, _, _>(vec![Some(vec![Some(1.0)])]);
    assert_eq!(encode("array(double)", column(large)), "[[[1.0]]]");
    let rows = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), column(Int64Array::from(vec![Some(1), None]))),
        (Arc::new(Field::new("#1", DataType::Utf8, true)), column(StringArray::from(vec!["x", "y"]))),
    ]);
    assert_eq!(encode("row(a bigint, varchar)", column(rows)), "[[[1,\"x\"]],[[null,\"y\"]]]");
}

/// A map with one entry.
fn map_of(key: ArrayRef, value: ArrayRef) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("key", key.data_type().clone(), false),
        Field::new("value", value.data_type().clone(), true),
    ]);
    let entries = StructArray::new(fields.clone(), vec![key, value], None);
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    column(MapArray::new(field, OffsetBuffer::from_lengths([1]), entries, None, false))
}

#[test]
fn keys_of_maps_are_strings() {
    let value = || column(Int32Array::from(vec![None]));
    for (type_name, key, expected) in [
        ("bigint", column(Int64Array::from(vec![1])), "1"),
        ("double", column(Float64Array::from(vec![1.0])), "1.0"),
        ("boolean", column(BooleanArray::from(vec![true])), "true"),
        ("varchar", column(StringArray::from(vec!["a\"b"])), "a\\\"b"),
        ("varbinary", column(BinaryArray::from(vec![b"a".as_slice()])), "YQ=="),
        ("date", column(Date32Array::from(vec![0])), "1970-01-01"),
        (
            "array(varchar)",
            column(ListArray::new(
                Arc::new(Field::new_list_field(DataType::Utf8, true)),
                OffsetBuffer::from_lengths([1]),
                column(StringArray::from(vec!["x"])),
                None,
            )),
            "[\\\"x\\\"]",
        ),
    ] {
        let type_name = format!("map({type_name}, integer)");
        assert_eq!(encode(&type_name, map_of(key, value())), format!("[[{{\"{expected}\":null}}]]"));
    }
}

#[test]
fn the_executors_own_types_are_taken() {
    assert_eq!(encode("bigint", column(UInt64Array::from(vec![7]))), "[[7]]");
    assert_eq!(encode("integer", column(UInt16Array::from(vec![65_535]))), "[[65535]]");
    let dictionary: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    assert_eq!(encode("varchar", column(dictionary)), "[[\"a\"],[\"b\"],[\"a\"]]");
    let runs = RunArray::try_new(&Int32Array::from(vec![2]), &StringArray::from(vec!["r"])).unwrap();
    assert_eq!(encode("varchar", column(runs)), "[[\"r\"],[\"r\"]]");
    let decimals = Decimal256Array::from(vec![i256::from_i128(15)]).with_precision_and_scale(40, 1).unwrap();
    assert_eq!(encode("decimal(38,1)", column(decimals)), "[[\"1.5\"]]");
}

#[test]
fn values_that_the_type_does_not_have_are_errors() {
    let error =
        encode_for("bigint", column(UInt64Array::from(vec![u64::MAX])), ClientCapabilities::ALL).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE);
    let error =
        encode_for("bigint", column(StringArray::from(vec!["1"])), ClientCapabilities::ALL).unwrap_err();
    assert_eq!(error.code(), ErrorCode::GENERIC_INTERNAL_ERROR);
}

#[test]
fn pages_are_cut_at_the_target() {
    let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Int64, false)]));
    let batch = RecordBatch::try_new(schema, vec![column(Int64Array::from_iter_values(0..1000))]).unwrap();
    let rows = RowEncoder::new(vec![Type::Bigint], ClientCapabilities::ALL).rows(&batch).unwrap();
    let (mut next, mut pages, mut read) = (0, 0, Vec::new());
    while next < rows.count() {
        let mut page = JsonRows::new();
        next = page.push(&rows, next, 100);
        assert!(!page.is_empty() && page.size_bytes() < 110);
        let page_rows: Vec<Vec<i64>> = serde_json::from_str(&page.finish()).unwrap();
        read.extend(page_rows.into_iter().flatten());
        pages += 1;
    }
    assert_eq!(read, (0..1000).collect::<Vec<_>>());
    assert!(pages > 50);
    let mut tiny = JsonRows::new();
    assert_eq!(tiny.push(&rows, 0, 0), 1);
    assert_eq!(tiny.finish(), "[[0]]");
    assert_eq!(JsonRows::new().finish(), "[]");
}
