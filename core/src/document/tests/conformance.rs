//! Every operation of the common model, on both CRDTs.

use std::collections::BTreeMap;

use super::*;

on_both! {
    every_scalar_comes_back_as_it_was_put,
    a_nested_document_is_edited_read_and_reloaded,
    text_positions_are_utf16_code_units,
    positions_out_of_range_or_inside_a_pair_are_refused,
    a_pair_that_another_device_wrote_is_not_split,
    lists_insert_delete_and_nest,
    a_counter_adds_up_concurrent_increments,
    what_is_told_of_a_counter_that_two_devices_made_is_what_is_read,
    concurrent_edits_converge,
    duplicates_and_any_order_change_nothing,
    a_failed_edit_leaves_no_trace,
    a_panicking_edit_leaves_no_trace,
    an_edit_that_does_nothing_makes_no_change,
    keys_and_kinds_are_checked,
    nesting_is_bounded,
    a_change_has_a_largest_size,
    a_foreign_actor_is_refused,
    a_new_instance_writes_under_its_own_actor,
    deep_values_are_written_in_one_go,
    keys_that_look_like_tags_are_ordinary_keys,
    random_edits_converge_and_observers_follow,
}

fn every_scalar_comes_back_as_it_was_put(crdt: Crdt) {
    let scalars = [
        Value::Null,
        true.into(),
        false.into(),
        0_i64.into(),
        i64::MAX.into(),
        i64::MIN.into(),
        0x7FFF_FFFF_i64.into(),
        (-0x8000_0000_i64).into(),
        (1_i64 << 40).into(),
        3.0.into(),
        0.1.into(),
        f64::INFINITY.into(),
        f64::MIN_POSITIVE.into(),
        "".into(),
        "with\0nul \u{1F9A5} e\u{301}".into(),
        Vec::<u8>::new().into(),
        vec![0_u8, 255, 128].into(),
        Value::Timestamp(1_700_000_000_123),
        Value::Timestamp(i64::MIN),
        Value::Counter(i64::MAX),
        Value::Counter(-7),
        Value::Text("body".into()),
    ];
    let mut writer = Writer::new(crdt, 1);
    for (n, scalar) in scalars.iter().enumerate() {
        writer.edit(|root| {
            root.put(&format!("k{n}"), scalar.clone())?;
            root.list("all")?.push(scalar.clone())
        });
    }
    for (n, scalar) in scalars.iter().enumerate() {
        assert_eq!(writer.document.read().get(&format!("k{n}")).unwrap().as_ref(), Some(scalar));
    }
    let mut reader = Writer::new(crdt, 2);
    reader.receive(&writer.changes);
    assert_eq!(reader.value(), writer.value());
    let nan = writer.document.edit(0, PatchMode::Off, |root| root.put("nan", f64::NAN)).unwrap();
    assert!(nan.change.is_some());
    assert!(writer.document.read().get("nan").unwrap().unwrap().as_f64().unwrap().is_nan());
}

fn reload(writer: &Writer) -> OpenDocument {
    let changes: Vec<ForeignChange<'_>> =
        writer.changes.iter().rev().map(|(_, bytes)| ForeignChange { bytes, actor: None }).collect();
    OpenDocument::load(writer.document.crdt(), actor(99), &changes).unwrap()
}

fn a_nested_document_is_edited_read_and_reloaded(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| {
        let mut map = root.map("a")?;
        let mut list = map.list("b")?;
        list.insert_map(0)?.text("title")?.push_str("reef")?;
        list.insert_list(1)?.push("x")?;
        list.insert_text(2)?.push_str("t")
    });
    writer.edit(|root| {
        let mut map = root.map("a")?;
        let mut list = map.list("b")?;
        list.map(0)?.text("title")?.splice(4, 0, "s")?;
        list.list(1)?.push(7)?;
        list.text(2)?.push_str("!")?;
        assert_eq!(list.len(), 3);
        assert_eq!(list.map(0)?.keys(), ["title"]);
        assert_eq!(list.text(2)?.read()?, "t!");
        Ok(())
    });
    assert_eq!(writer.json(), r#"{"a":{"b":[{"title":"reefs"},["x",7],"t!"]}}"#);
    let view = writer.document.read();
    let path = ["a".into(), "b".into(), 0.into(), "title".into()];
    assert_eq!(view.at(&path).unwrap(), Some(Value::Text("reefs".into())));
    assert_eq!(view.at(&["a".into(), 0.into()]).unwrap(), None);
    assert_eq!(view.keys().unwrap(), ["a"]);
    drop(view);
    let reloaded = reload(&writer);
    assert_eq!(reloaded.version(), writer.document.version());
    assert_eq!(reloaded.read().to_value().unwrap(), writer.value());
}

fn text_positions_are_utf16_code_units(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    let string = "a\u{1F9A5}b\u{1F468}\u{200D}\u{1F469}e\u{301}c";
    writer.edit(|root| root.text("t")?.push_str(string));
    let len = writer.edit(|root| Ok(root.text("t")?.len_utf16()));
    assert_eq!(len, string.encode_utf16().count());
    writer.edit(|root| root.text("t")?.splice(3, 1, "B\u{1F420}"));
    writer.edit(|root| root.text("t")?.splice(1, 2, "-"));
    assert_eq!(writer.document.read().text("t").unwrap().unwrap(), "a-B\u{1F420}\u{1F468}\u{200D}\u{1F469}e\u{301}c");
    let mut other = Writer::new(crdt, 2);
    other.receive(&writer.changes);
    other.edit(|root| root.text("t")?.splice(3, 2, ""));
    assert_eq!(other.document.read().text("t").unwrap().unwrap(), "a-B\u{1F468}\u{200D}\u{1F469}e\u{301}c");
}

fn refused<R: std::fmt::Debug>(
    writer: &mut Writer,
    closure: impl FnOnce(&mut MapEdit<'_>) -> Result<R, EditError>,
) -> EditError {
    writer.document.edit(0, PatchMode::On, closure).unwrap_err()
}

fn positions_out_of_range_or_inside_a_pair_are_refused(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("plain")?.push_str("abc"));
    assert_eq!(
        refused(&mut writer, |root| root.text("plain")?.splice(4, 0, "x")),
        EditError::OutOfRange { index: 4, len: 3 }
    );
    writer.edit(|root| root.text("pairs")?.push_str("a\u{1F9A5}b"));
    for (index, removed, wrong) in [(2, 0, 2), (0, 2, 2), (2, 1, 2), (1, 1, 2)] {
        assert_eq!(
            refused(&mut writer, |root| root.text("pairs")?.splice(index, removed, "x")),
            EditError::SplitsCharacter { index: wrong }
        );
    }
    assert_eq!(
        refused(&mut writer, |root| root.text("pairs")?.splice(usize::MAX, 0, "x")),
        EditError::OutOfRange { index: usize::MAX, len: 4 }
    );
    writer.edit(|root| root.list("list")?.push(1));
    for index in [1, 2, usize::MAX] {
        let error = EditError::OutOfRange { index, len: 1 };
        assert_eq!(refused(&mut writer, |root| root.list("list")?.delete(index)), error);
        assert_eq!(refused(&mut writer, |root| root.list("list")?.map(index).map(|_| ())), error);
    }
    assert!(refused(&mut writer, |root| root.list("list")?.insert(2, 1)) == EditError::OutOfRange { index: 2, len: 1 });
    assert_eq!(writer.json(), r#"{"list":[1],"pairs":"a🦥b","plain":"abc"}"#);
}

/// Whoever writes into a text that others wrote into too: their characters are as whole, wherever they stand, deleted
/// ones beside them or not, and after a restart.
fn a_pair_that_another_device_wrote_is_not_split(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("t")?.push_str("a\u{1F9A5}\u{1F420}b"));
    writer.edit(|root| root.text("t")?.splice(0, 1, ""));
    writer.edit(|root| root.text("t")?.splice(2, 0, "\u{1F468}"));
    let mut reader = Writer::new(crdt, 2);
    reader.receive(&writer.changes);
    let saved = reader.document.save().unwrap().unwrap();
    let restored = OpenDocument::restore(crdt, actor(2), &saved).unwrap();
    let mut restored = Writer { document: restored, observed: reader.observed.clone(), ..Writer::new(crdt, 2) };
    for reader in [&mut reader, &mut restored] {
        for index in [1, 3, 5] {
            let split = EditError::SplitsCharacter { index };
            assert_eq!(refused(reader, |root| root.text("t")?.splice(index, 0, "x")), split);
            assert_eq!(refused(reader, |root| root.text("t")?.splice(0, index, "")), split);
        }
        reader.edit(|root| root.text("t")?.splice(2, 2, ""));
        reader.edit(|root| root.text("t")?.splice(2, 0, "-"));
        assert_eq!(reader.document.read().text("t").unwrap().unwrap(), "\u{1F9A5}-\u{1F420}b");
    }
}

fn lists_insert_delete_and_nest(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| {
        let mut list = root.list("l")?;
        for n in 0..5 {
            list.push(n)?;
        }
        list.insert(2, "two")
    });
    writer.edit(|root| root.list("l")?.delete(0));
    writer.edit(|root| {
        let mut list = root.list("l")?;
        list.delete(4)?;
        list.insert(0, "first")?;
        assert_eq!(list.get(0)?, Some("first".into()));
        assert_eq!(list.get(9)?, None);
        Ok(())
    });
    assert_eq!(writer.json(), r#"{"l":["first",1,"two",2,3]}"#);
    let put = writer.document.edit(0, PatchMode::Off, |root| root.list("l")?.put(0, 9));
    match crdt {
        Crdt::Automerge => assert_eq!(writer.json(), r#"{"l":[9,1,"two",2,3]}"#),
        Crdt::Yrs => {
            assert_eq!(put.unwrap_err(), EditError::Unsupported { crdt, operation: "list put" });
        }
    }
}

fn a_counter_adds_up_concurrent_increments(crdt: Crdt) {
    let mut a = Writer::new(crdt, 1);
    a.edit(|root| {
        root.put("n", Value::Counter(10))?;
        root.list("l")?.push(Value::Counter(0))
    });
    let mut b = Writer::new(crdt, 2);
    b.receive(&a.changes);
    for n in 1..4 {
        a.edit(|root| root.counter("n")?.increment(n));
        b.edit(|root| root.counter("n")?.increment(-100 * n));
        b.edit(|root| root.list("l")?.counter(0)?.increment(n));
    }
    exchange(&mut a, &mut b);
    assert_eq!(a.json(), r#"{"l":[6],"n":-584}"#);
    a.edit(|root| root.put("n", Value::Counter(i64::MAX)));
    assert_eq!(refused(&mut a, |root| root.counter("n")?.increment(1)), EditError::CounterOverflow);
    assert_eq!(a.document.read().get("n").unwrap(), Some(Value::Counter(i64::MAX)));
}

fn concurrent_edits_converge(crdt: Crdt) {
    let mut a = Writer::new(crdt, 1);
    a.edit(|root| {
        root.text("t")?.push_str("the reef")?;
        root.list("l")?.push(1)
    });
    let mut b = Writer::new(crdt, 2);
    b.receive(&a.changes);
    a.edit(|root| root.text("t")?.splice(4, 0, "blue "));
    a.edit(|root| root.put("k", "from a"));
    a.edit(|root| root.list("l")?.insert(0, "a"));
    a.edit(|root| root.delete("gone"));
    b.edit(|root| root.text("t")?.splice(0, 3, "a"));
    b.edit(|root| root.put("k", "from b"));
    b.edit(|root| root.list("l")?.push("b"));
    exchange(&mut a, &mut b);
    assert_eq!(a.document.read().text("t").unwrap().unwrap(), "a blue reef");
    assert_eq!(a.document.read().get("l").unwrap().unwrap().to_json().to_string(), r#"["a",1,"b"]"#);
    assert!(["from a", "from b"].contains(&a.document.read().text("k").unwrap().unwrap().as_str()));
}

fn duplicates_and_any_order_change_nothing(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    for n in 0..20 {
        writer.edit(|root| root.text("t")?.push_str(&n.to_string()));
    }
    let mut reader = Writer::new(crdt, 2);
    for index in (0..20).rev().chain(0..20) {
        let change = writer.changes[index].clone();
        reader.receive(&[change]);
    }
    assert_eq!(reader.value(), writer.value());
    assert_eq!(reader.document.version(), writer.document.version());
    let version = writer.document.version();
    let own = writer.changes.clone();
    writer.receive(&own);
    assert_eq!(writer.document.version(), version);
}

fn a_failed_edit_leaves_no_trace(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| {
        root.text("t")?.push_str("kept")?;
        root.put("k", 1)?;
        root.map("m")?.list("l")?.push("x")
    });
    writer.edit(|root| root.text("t")?.splice(1, 1, ""));
    let (before, version) = (writer.value(), writer.document.version());
    let error = refused(&mut writer, |root| {
        root.text("t")?.splice(1, 2, "gone")?;
        root.delete("m")?;
        root.put("k", 2)?;
        root.map("new")?.put("x", 1)?;
        root.list("l")?.push(1)?;
        Err::<(), _>(EditError::Abandoned)
    });
    assert_eq!(error, EditError::Abandoned);
    assert!(!writer.document.is_reload_required());
    assert_eq!((writer.value(), writer.document.version()), (before, version));
    goes_on(&mut writer);
}

/// Edits, encodes and reloads, and hands the change to another document.
fn goes_on(writer: &mut Writer) {
    writer.edit(|root| root.text("t")?.push_str(" and more"));
    writer.document.verify().unwrap();
    assert_eq!(reload(writer).read().to_value().unwrap(), writer.value());
    let mut reader = Writer::new(writer.document.crdt(), 77);
    reader.receive(&writer.changes);
    assert_eq!(reader.document.version(), writer.document.version());
}

fn a_panicking_edit_leaves_no_trace(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("t")?.push_str("kept"));
    let (before, version) = (writer.value(), writer.document.version());
    let error = refused(&mut writer, |root| -> Result<(), EditError> {
        root.text("t")?.splice(0, 4, "lost")?;
        root.map("m")?.put("k", "v")?;
        panic!("the app's own fault");
    });
    assert_eq!(error, EditError::Panicked);
    assert!(!writer.document.is_reload_required());
    assert_eq!((writer.value(), writer.document.version()), (before, version));
    goes_on(&mut writer);
}

fn an_edit_that_does_nothing_makes_no_change(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("t")?.push_str("x"));
    let version = writer.document.version();
    let made = writer.changes.len();
    writer.edit(|root| root.delete("absent"));
    writer.edit(|root| root.text("t")?.splice(1, 0, ""));
    writer.edit(|root| root.text("t")?.read());
    assert_eq!((writer.changes.len(), writer.document.version()), (made, version));
}

fn keys_and_kinds_are_checked(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.put("s", "scalar"));
    assert_eq!(refused(&mut writer, |root| root.put("", 1)), EditError::BadKey { key_bytes: 0 });
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let bad = EditError::BadKey { key_bytes: KEY_BYTES_MAX + 1 };
    assert_eq!(refused(&mut writer, |root| root.text(&long).map(|_| ())), bad);
    writer.edit(|root| root.put(&long[1..], 1));
    let wrong = EditError::WrongKind { expected: Kind::Text, found: Kind::Scalar };
    assert_eq!(refused(&mut writer, |root| root.text("s").map(|_| ())), wrong);
    writer.edit(|root| root.put("c", Value::Counter(1)));
    let wrong = EditError::WrongKind { expected: Kind::Map, found: Kind::Counter };
    assert_eq!(refused(&mut writer, |root| root.map("c").map(|_| ())), wrong);
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]))
}

fn nesting_is_bounded(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.put("deep", nested(DEPTH_MAX - 1)));
    assert_eq!(refused(&mut writer, |root| root.put("deeper", nested(DEPTH_MAX))), EditError::TooDeep);
    assert_eq!(refused(&mut writer, |root| root.put("deepest", nested(5_000))), EditError::TooDeep);
    assert!(!writer.document.is_reload_required());
    writer.document.verify().unwrap();
}

fn a_change_has_a_largest_size(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    let large = "x".repeat(EDIT_COST_MAX);
    assert_eq!(refused(&mut writer, |root| root.put("large", large.as_str())), EditError::ChangeTooLarge);
    assert_eq!(refused(&mut writer, |root| root.text("large")?.push_str(&large)), EditError::ChangeTooLarge);
    assert_eq!(writer.json(), "{}");
}

fn a_foreign_actor_is_refused(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.put("k", 1));
    let mut reader = OpenDocument::new(crdt, actor(2));
    let bytes = &writer.changes[0].1;
    let lie = ForeignChange { bytes, actor: Some(actor(3)) };
    let error = ApplyError { index: Some(0), reason: ApplyReason::ActorMismatch };
    assert_eq!(reader.apply(&[lie], PatchMode::Off), Err(error));
    assert!(!reader.is_reload_required());
    reader.apply(&[ForeignChange { bytes, actor: None }], PatchMode::Off).unwrap();
    assert_eq!(reader.read().get("k").unwrap(), Some(1.into()));
}

fn a_new_instance_writes_under_its_own_actor(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("t")?.push_str("one"));
    writer.document.set_actor(actor(7)).unwrap();
    writer.actor = actor(7);
    assert_eq!(writer.document.actor(), actor(7));
    writer.edit(|root| root.text("t")?.push_str(" two"));
    let mut reader = Writer::new(crdt, 2);
    reader.receive(&writer.changes);
    assert_eq!(reader.document.read().text("t").unwrap().unwrap(), "one two");
}

fn deep_values_are_written_in_one_go(crdt: Crdt) {
    let map = BTreeMap::from([
        ("text".to_owned(), Value::Text("t".into())),
        ("list".to_owned(), Value::List(vec![1.into(), Value::Map(Default::default()), Value::Counter(4)])),
    ]);
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.put("m", map.clone()));
    assert_eq!(writer.changes.len(), 1);
    assert_eq!(writer.document.read().get("m").unwrap(), Some(Value::Map(map)));
    writer.edit(|root| root.put("m", Value::Null));
    assert_eq!(writer.json(), r#"{"m":null}"#);
}

fn keys_that_look_like_tags_are_ordinary_keys(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| {
        let mut map = root.map("m")?;
        for key in ["$counter", "$timestamp", "$$", "$", "plain"] {
            map.put(key, key)?;
        }
        map.delete("plain")?;
        map.map("$nested")?.put("$i64", vec![0_u8; 8])
    });
    assert_eq!(
        writer.json(),
        r#"{"m":{"$":"$","$$":"$$","$counter":"$counter","$nested":{"$i64":"AAAAAAAAAAA="},"$timestamp":"$timestamp"}}"#
    );
}

fn random_edit(random: &mut Random, root: &mut MapEdit<'_>) -> Result<(), EditError> {
    let strings = ["a", "bc", "e\u{301}", "\u{1F9A5}", "\u{1F468}\u{200D}\u{1F469}"];
    match random.below(10) {
        0..3 => {
            let mut text = root.text("text")?;
            let units: Vec<_> = text.read()?.chars().map(char::len_utf16).collect();
            let from = random.below(units.len() + 1);
            let to = (from + random.below(4)).min(units.len());
            let (index, removed) = (units[..from].iter().sum(), units[from..to].iter().sum());
            text.splice(index, removed, strings[random.below(strings.len())])
        }
        3 => root.put(["k", "l", "m"][random.below(3)], random.below(9) as i64),
        4 => root.delete(["k", "l", "m"][random.below(3)]).map(drop),
        5 => root.counter("n")?.increment(random.below(9) as i64 - 4),
        6 => {
            let mut list = root.list("list")?;
            let index = random.below(list.len() + 1);
            let mut map = list.insert_map(index)?;
            map.put("n", random.below(9) as i64)?;
            map.text("t")?.push_str(strings[random.below(strings.len())])
        }
        7 => {
            let mut list = root.list("list")?;
            let index = random.below(list.len());
            if list.is_empty() { Ok(()) } else { list.delete(index) }
        }
        8 => {
            let mut list = root.list("list")?;
            let index = random.below(list.len());
            if list.is_empty() { Ok(()) } else { list.map(index)?.text("t")?.splice(0, 0, "z") }
        }
        _ => root.map("map")?.map("in")?.put("x", Value::List(vec![1.into(), "y".into()])),
    }
}

fn random_edits_converge_and_observers_follow(crdt: Crdt) {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut writers = [Writer::new(crdt, 1), Writer::new(crdt, 2), Writer::new(crdt, 3)];
        writers[0].edit(|root| {
            root.text("text")?;
            root.list("list")?;
            root.counter("n")?;
            root.map("map")?.map("in").map(drop)
        });
        let genesis = writers[0].changes.clone();
        writers[1].receive(&genesis);
        writers[2].receive(&genesis);
        for _ in 0..60 {
            let index = random.below(3);
            if random.below(5) == 0 {
                let from = writers[random.below(3)].changes.clone();
                writers[index].receive(&from);
            } else {
                writers[index].edit(|root| random_edit(&mut random, root));
            }
        }
        let all: Vec<_> = writers.iter().flat_map(|writer| writer.changes.clone()).collect();
        for writer in &mut writers {
            writer.receive(&all);
        }
        assert_eq!(writers[0].value(), writers[1].value(), "seed {seed}");
        assert_eq!(writers[1].value(), writers[2].value(), "seed {seed}");
        assert_eq!(writers[0].document.version(), writers[2].document.version(), "seed {seed}");
        let reloaded = reload(&writers[0]);
        assert_eq!(reloaded.read().to_value().unwrap(), writers[0].value(), "seed {seed}");
    }
}

fn what_is_told_of_a_counter_that_two_devices_made_is_what_is_read(crdt: Crdt) {
    for n in 0..256 {
        let (mut a, mut b) = (Writer::new(crdt, 1), Writer::new(crdt, 2));
        for (writer, ahead, times, by) in [(&mut a, n / 64, n / 16 % 4, 3), (&mut b, n / 4 % 4, n % 4, 5)] {
            (0..ahead).for_each(|n| writer.edit(|root| root.put("other", n)));
            (0..=times).for_each(|_| writer.edit(|root| root.counter("count")?.increment(by)));
        }
        exchange(&mut a, &mut b);
        for writer in [&mut a, &mut b] {
            let counted = |writer: &Writer| match writer.value() {
                Value::Map(root) => root.get("count").cloned(),
                _ => None,
            };
            let Some(Value::Counter(before)) = counted(writer) else { panic!("a counter") };
            writer.edit(|root| root.counter("count")?.increment(1));
            assert_eq!(counted(writer), Some(Value::Counter(before + 1)), "{n}");
        }
        exchange(&mut a, &mut b);
    }
}
