//! What holds for every value: text and binary read back, orders agree with keys, arithmetic with itself.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{Datum, Interval, Numeric, PgType, TextStyle, compare_numeric_texts, json};

fn numeric_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{1,30}",
        "-?[0-9]{1,20}\\.[0-9]{1,20}",
        "-?0\\.0{0,12}[0-9]{1,8}",
        "-?[0-9]{1,5}0{4,12}",
        Just("NaN".to_owned()),
        Just("Infinity".to_owned()),
    ]
}

fn json_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,3})?",
        "[a-z\u{e9}]{0,4}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(" , "))),
            proptest::collection::vec(("[a-c]{0,3}", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn datum() -> impl Strategy<Value = (PgType, Datum)> {
    let day_range = -2_451_545i32..2_145_031_949;
    prop_oneof![
        any::<bool>().prop_map(|value| (PgType::Bool, Datum::Bool(value))),
        any::<i16>().prop_map(|value| (PgType::Int2, Datum::Int2(value))),
        any::<i64>().prop_map(|value| (PgType::Int8, Datum::Int8(value))),
        any::<f32>().prop_map(|value| (PgType::Float4, Datum::Float4(value))),
        any::<f64>().prop_map(|value| (PgType::Float8, Datum::Float8(value))),
        "[^\0]{0,12}".prop_map(|text| (PgType::Text, Datum::Text(text.into()))),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| (PgType::Bytea, Datum::Bytea(bytes.into()))),
        any::<[u8; 16]>().prop_map(|uuid| (PgType::Uuid, Datum::Uuid(uuid))),
        day_range.prop_map(|days| (PgType::Date, Datum::Date(days))),
        (-200_000_000_000_000_000i64..9_000_000_000_000_000_000)
            .prop_map(|at| (PgType::Timestamp, Datum::Timestamp(at))),
        (-200_000_000_000_000_000i64..9_000_000_000_000_000_000)
            .prop_map(|at| (PgType::Timestamptz, Datum::Timestamptz(at))),
        (-100_000i32..100_000, -100_000i32..100_000, -1_000_000_000_000_000i64..1_000_000_000_000_000)
            .prop_map(|(months, days, time)| (PgType::Interval, Datum::Interval(Interval::new(months, days, time)))),
        numeric_text().prop_map(|text| (PgType::Numeric, Datum::Numeric(Numeric::parse(&text).unwrap()))),
        json_value().prop_map(|text| (PgType::Jsonb, Datum::Jsonb(json::canonical(&text).unwrap().into()))),
        proptest::collection::vec("[^\0]{0,6}", 0..5).prop_map(|texts| {
            let values = texts.into_iter().map(|text| Datum::Text(text.into())).collect();
            (PgType::TextArray, Datum::Array { element: PgType::Text, values })
        }),
    ]
}

proptest! {
    #[test]
    fn text_and_binary_read_back((data_type, value) in datum()) {
        let style = TextStyle { zone: super::Zone::from_setting("Asia/Kolkata").unwrap(), now: None };
        let text = value.to_text(&style).unwrap();
        let read = Datum::from_text(data_type, &text, &style).unwrap();
        prop_assert_eq!(read.to_text(&style).unwrap(), text);
        prop_assert!(read.compare(&value).is_eq());
        let mut binary = BytesMut::new();
        value.write_binary(&mut binary);
        let read = Datum::from_binary(data_type, &binary).unwrap();
        let mut again = BytesMut::new();
        read.write_binary(&mut again);
        prop_assert_eq!(again, binary);
    }

    #[test]
    fn hostile_bytes_are_errors_or_values(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for data_type in PgType::ALL {
            let _ = Datum::from_binary(*data_type, &bytes);
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = Datum::from_text(*data_type, text, &TextStyle::default());
            }
        }
    }

    #[test]
    fn hostile_text_is_an_error_or_a_value(text in "[-+0-9a-zA-Z:./ ,\"{}\\[\\]\\\\\u{e9}]{0,24}") {
        for data_type in PgType::ALL {
            if let Ok(value) = Datum::from_text(*data_type, &text, &TextStyle::default()) {
                // What is read can be shown, and is read back as the same value.
                let shown = value.to_text(&TextStyle::default()).unwrap();
                let again = Datum::from_text(*data_type, &shown, &TextStyle::default()).unwrap();
                prop_assert!(again.compare(&value).is_eq(), "{} {:?} {:?}", data_type, text, shown);
            }
        }
    }

    #[test]
    fn numerics_compare_alike_as_text_and_as_numbers(a in numeric_text(), b in numeric_text()) {
        let (x, y) = (Numeric::parse(&a).unwrap(), Numeric::parse(&b).unwrap());
        prop_assert_eq!(compare_numeric_texts(&x.to_string(), &y.to_string()), x.cmp(&y));
        let key = |value: &Numeric| {
            let mut out = BytesMut::new();
            Datum::Numeric(value.clone()).write_key(&mut out);
            out
        };
        prop_assert_eq!(key(&x) == key(&y), x == y);
    }

    #[test]
    fn sums_and_products_undo(a in numeric_text(), b in numeric_text()) {
        let (x, y) = (Numeric::parse(&a).unwrap(), Numeric::parse(&b).unwrap());
        prop_assume!(x.is_finite() && y.is_finite());
        prop_assert_eq!(x.add(&y).unwrap().sub(&y).unwrap(), x.clone());
        if !y.is_zero() {
            let whole = x.div_trunc(&y).unwrap().mul(&y).unwrap().add(&x.rem(&y).unwrap()).unwrap();
            prop_assert_eq!(whole, x);
        }
    }

    #[test]
    fn json_is_canonical_once(text in json_value()) {
        let canonical = json::canonical(&text).unwrap();
        prop_assert_eq!(json::canonical(&canonical).unwrap(), canonical);
    }
}
