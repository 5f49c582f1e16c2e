use proptest::prelude::*;

use super::*;

/// What vLLM 0.32 published, as the captured samples have it.
const SAMPLES: &str = include_str!("samples.jsonl");

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The batches of the samples, by what they are.
fn samples() -> Vec<(String, Batch)> {
    let read = |line: &str| {
        let sample: serde_json::Value = serde_json::from_str(line).unwrap();
        let payload = unhex(sample["payload"].as_str().unwrap());
        (
            sample["what"].as_str().unwrap().to_owned(),
            batch(&payload).unwrap(),
        )
    };
    SAMPLES.lines().map(read).collect()
}

fn sample(what: &str) -> Batch {
    let found = samples().into_iter().find(|(name, _)| name == what);
    found.unwrap_or_else(|| panic!("no sample {what}")).1
}

const DEVICE: Place = Place {
    tier: StorageTier::Device,
    group: 0,
};

#[test]
fn captured_blocks_are_read() {
    let batch = sample("stored with a salt");
    assert_eq!((batch.rank, batch.skipped), (Some(0), 0));
    let expected = Stored {
        hashes: vec![1_367_994_561_423_815_309, 9_802_100_266_582_740_082],
        parent: None,
        tokens: (100..164).collect(),
        block_size: 32,
        place: DEVICE,
        lora: None,
        keys: vec![BlockKey::Salt("tenant-1".to_owned()), BlockKey::None],
        full_attention: true,
    };
    assert_eq!(batch.changes, [Change::Stored(expected)]);
    let batch = sample("stored while decoding");
    let [Change::Stored(stored)] = &*batch.changes else {
        panic!("{batch:?}");
    };
    assert_eq!(stored.parent, Some(13_801_718_804_773_344_219));
    assert_eq!(stored.keys, [BlockKey::None]);
}

#[test]
fn captured_removals_are_read() {
    let batch = sample("removed");
    let removed = Change::Removed {
        hashes: vec![5_268_269_066_566_888_846],
        place: DEVICE,
    };
    assert_eq!(batch.changes, [removed]);
    let batch = sample("cleared");
    assert_eq!(batch.changes, [Change::Cleared, Change::Cleared]);
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn numbers(numbers: impl IntoIterator<Item = u64>) -> Value {
    Value::Array(numbers.into_iter().map(Value::Unsigned).collect())
}

#[test]
fn arrays_are_read_like_maps() {
    let event = Value::Array(vec![
        text("BlockStored"),
        numbers([7, 8]),
        Value::Nil,
        numbers(1..=4),
        Value::Unsigned(2),
        Value::Nil,
        text("CPU_PINNED"),
    ]);
    let Some(Change::Stored(stored)) = change(event) else {
        panic!("not read");
    };
    assert_eq!(stored.place.tier, StorageTier::HostPinned);
    assert_eq!(
        (stored.hashes, stored.tokens),
        (vec![7, 8], vec![1, 2, 3, 4])
    );
    let event = Value::Array(vec![text("BlockRemoved"), numbers([7])]);
    let removed = Change::Removed {
        hashes: vec![7],
        place: DEVICE,
    };
    assert_eq!(change(event), Some(removed));
    let event = Value::Array(vec![text("AllBlocksCleared")]);
    assert_eq!(change(event), Some(Change::Cleared));
}

#[test]
fn hashes_may_be_signed_or_bytes() {
    assert_eq!(hash(Value::Signed(-1)), Some(u64::MAX));
    let bytes = (0..32).collect();
    assert_eq!(hash(Value::Bytes(bytes)), Some(0x1819_1a1b_1c1d_1e1f));
    assert_eq!(hash(Value::Bytes(vec![1, 2])), None);
}

#[test]
fn keys_are_told_apart() {
    let check = |parts: Vec<Value>, lora, expected| {
        assert_eq!(block_key(Value::Array(parts), lora), expected);
    };
    let salt = || BlockKey::Salt("s".to_owned());
    check(vec![text("s")], None, salt());
    check(vec![text("adapter")], Some("adapter"), BlockKey::None);
    check(vec![text("adapter"), text("s")], Some("adapter"), salt());
    let picture = Value::Array(vec![text("hash"), Value::Unsigned(3)]);
    check(vec![picture], None, BlockKey::Opaque);
    check(vec![Value::Bytes(vec![1])], None, BlockKey::Opaque);
    check(vec![text("s"), text("t")], None, BlockKey::Opaque);
    assert_eq!(block_key(Value::Nil, None), BlockKey::None);
}

#[test]
fn what_is_not_known_is_left_out_and_counted() {
    let unknown = Value::Map(vec![(text("type"), text("BlockMoved"))]);
    assert_eq!(change(unknown), None);
    let odd = Value::Array(vec![
        text("BlockStored"),
        numbers([7]),
        Value::Nil,
        numbers(1..=3),
        Value::Unsigned(2),
    ]);
    assert_eq!(change(odd), None, "tokens do not fill the blocks");
    // [1.5, [["BlockMoved"], ["AllBlocksCleared"]]]
    let mut payload = vec![0x92, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0x92, 0x91, 0xaa];
    payload.extend(b"BlockMoved");
    payload.extend([0x91, 0xb0]);
    payload.extend(b"AllBlocksCleared");
    let batch = batch(&payload).unwrap();
    assert_eq!((batch.time, batch.rank, batch.skipped), (1.5, None, 1));
    assert_eq!(batch.changes, [Change::Cleared]);
}

#[test]
fn messages_are_three_frames() {
    let frames = |sequence: &'static [u8]| {
        let payload = Bytes::from_static(&[0x92, 0x00, 0x90]);
        [
            Bytes::new(),
            Bytes::new(),
            Bytes::from_static(sequence),
            payload,
        ]
    };
    let read = message(&frames(&[0, 0, 0, 0, 0, 0, 1, 2])).unwrap();
    assert_eq!((read.sequence, read.batch.changes), (258, vec![]));
    assert!(message(&frames(b"1")).is_err());
    assert!(message(&frames(&[0; 8])[2..]).is_err());
}

proptest! {
    #[test]
    fn nothing_that_comes_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(batch(&bytes));
    }

    #[test]
    fn a_captured_batch_that_is_cut_is_no_batch(cut in 1_usize..200) {
        for line in SAMPLES.lines() {
            let sample: serde_json::Value = serde_json::from_str(line).unwrap();
            let payload = unhex(sample["payload"].as_str().unwrap());
            let cut = cut.min(payload.len() - 1);
            // The rank at the end may be missing, and nothing before it.
            prop_assert!(batch(&payload[..payload.len() - cut]).is_err());
        }
    }
}
