//! A compact form of answers, for processes that both know it.
//!
//! A token costs its JSON form a hundred bytes of text to write and to read; here it costs six. What
//! has no compact form (errors, annotations, whatever a prefill worker hands over) is JSON, which
//! begins with `{`. The first byte of the compact form is 1:
//!
//! ```text
//! u8 1 | u8 members | tokens | member, for each bit of `members` from the lowest
//! ```
//!
//! | bit | member | as |
//! |---|---|---|
//! | 0 | `finish_reason` | `u8`: 0 eos, 1 length, 2 stop, 3 cancelled, 4 content filter |
//! | 1 | `index` | number |
//! | 2 | `cached_tokens` | number |
//! | 3 | `cum_log_probs` | `f64` |
//! | 4 | `log_probs` | list of `f64` |
//! | 5 | `top_logprobs` | list of lists of a number, the token, and an `f64` |
//!
//! `tokens` is a list of numbers. A number is a LEB128, a list begins with its length as one, and an
//! `f64` is little-endian.

use super::{Annotated, EngineOutput, FinishReason, TopLogprob};

/// First byte of the compact form.
const COMPACT: u8 = 1;

const FINISH_REASON: u8 = 1;
const INDEX: u8 = 1 << 1;
const CACHED_TOKENS: u8 = 1 << 2;
const CUM_LOG_PROBS: u8 = 1 << 3;
const LOG_PROBS: u8 = 1 << 4;
const TOP_LOGPROBS: u8 = 1 << 5;
const ALL: u8 = (1 << 6) - 1;

/// Why bytes are not an answer.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableAnswer {
    /// They are not JSON of the right shape.
    #[error("it is no answer in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// They begin like the compact form, but do not go on like it.
    #[error("it is no answer in compact form")]
    Compact,
}

/// The compact form of `answer`, or its JSON if it has none.
pub fn encode(answer: &Annotated<EngineOutput>) -> Vec<u8> {
    let json = || serde_json::to_vec(answer).expect("wire types have string keys only");
    let Annotated {
        data: Some(output),
        id: None,
        event: None,
        comment: None,
        error_kind: None,
    } = answer
    else {
        return json();
    };
    encode_output(output).unwrap_or_else(json)
}

/// Reads an answer in either form.
///
/// # Errors
/// `bytes` is neither.
pub fn decode(bytes: &[u8]) -> Result<Annotated<EngineOutput>, UnreadableAnswer> {
    match bytes.split_first() {
        Some((&COMPACT, rest)) => {
            let output = decode_output(Reader(rest)).ok_or(UnreadableAnswer::Compact)?;
            Ok(Annotated::data(output))
        }
        _ => Ok(serde_json::from_slice(bytes)?),
    }
}

fn encode_output(output: &EngineOutput) -> Option<Vec<u8>> {
    let EngineOutput {
        token_ids,
        cum_log_probs,
        log_probs,
        top_logprobs,
        finish_reason,
        index,
        disaggregated_params: None,
        cached_tokens,
    } = output
    else {
        return None;
    };
    let finish_reason = match finish_reason {
        None => None,
        Some(reason) => Some(finish_code(reason)?),
    };
    let mut bytes = Vec::with_capacity(16 + 4 * token_ids.len());
    let mut members = 0;
    bytes.extend([COMPACT, members]);
    put_list(&mut bytes, token_ids, |bytes, token| {
        put_number(bytes, *token);
    });
    if let Some(code) = finish_reason {
        members |= FINISH_REASON;
        bytes.push(code);
    }
    if let Some(index) = index {
        members |= INDEX;
        put_number(&mut bytes, *index);
    }
    if let Some(cached) = cached_tokens {
        members |= CACHED_TOKENS;
        put_number(&mut bytes, *cached);
    }
    if let Some(sum) = cum_log_probs {
        members |= CUM_LOG_PROBS;
        put_float(&mut bytes, *sum);
    }
    if let Some(log_probs) = log_probs {
        members |= LOG_PROBS;
        put_list(&mut bytes, log_probs, |bytes, log_prob| {
            put_float(bytes, *log_prob);
        });
    }
    if let Some(top) = top_logprobs {
        members |= TOP_LOGPROBS;
        put_list(&mut bytes, top, |bytes, alternatives| {
            put_list(bytes, alternatives, |bytes, alternative| {
                put_number(bytes, alternative.token_id);
                put_float(bytes, alternative.logprob);
            });
        });
    }
    bytes[1] = members;
    Some(bytes)
}

fn decode_output(mut reader: Reader<'_>) -> Option<EngineOutput> {
    let members = reader.byte()?;
    if members & !ALL != 0 {
        return None;
    }
    let has = |member| members & member != 0;
    let mut output = EngineOutput {
        token_ids: reader.list(Reader::number)?,
        ..EngineOutput::default()
    };
    if has(FINISH_REASON) {
        output.finish_reason = Some(finish_reason(reader.byte()?)?);
    }
    if has(INDEX) {
        output.index = Some(reader.number()?);
    }
    if has(CACHED_TOKENS) {
        output.cached_tokens = Some(reader.number()?);
    }
    if has(CUM_LOG_PROBS) {
        output.cum_log_probs = Some(reader.float()?);
    }
    if has(LOG_PROBS) {
        output.log_probs = Some(reader.list(Reader::float)?);
    }
    if has(TOP_LOGPROBS) {
        let alternative = |reader: &mut Reader<'_>| {
            Some(TopLogprob {
                token_id: reader.number()?,
                logprob: reader.float()?,
            })
        };
        output.top_logprobs = Some(reader.list(|reader| reader.list(alternative))?);
    }
    reader.0.is_empty().then_some(output)
}

/// `None` for a failure, which is told as an error.
const fn finish_code(reason: &FinishReason) -> Option<u8> {
    Some(match reason {
        FinishReason::Eos => 0,
        FinishReason::Length => 1,
        FinishReason::Stop => 2,
        FinishReason::Cancelled => 3,
        FinishReason::ContentFilter => 4,
        FinishReason::Error(_) => return None,
    })
}

const fn finish_reason(code: u8) -> Option<FinishReason> {
    Some(match code {
        0 => FinishReason::Eos,
        1 => FinishReason::Length,
        2 => FinishReason::Stop,
        3 => FinishReason::Cancelled,
        4 => FinishReason::ContentFilter,
        _ => return None,
    })
}

fn put_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn put_float(bytes: &mut Vec<u8>, number: f64) {
    bytes.extend(number.to_le_bytes());
}

fn put_list<T>(bytes: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_number(
        bytes,
        u32::try_from(items.len()).expect("an answer is short"),
    );
    for item in items {
        put(bytes, item);
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    fn float(&mut self) -> Option<f64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(f64::from_le_bytes(*number))
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = usize::try_from(self.number()?).ok()?;
        // An item takes a byte at least, so that a length cannot make us reserve what never comes.
        let mut items = Vec::with_capacity(length.min(self.0.len()));
        for _ in 0..length {
            items.push(item(self)?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::engine::WorkerFailure;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn full() -> EngineOutput {
        EngineOutput {
            token_ids: vec![5, 300, u32::MAX],
            cum_log_probs: Some(-1.5),
            log_probs: Some(vec![-0.5]),
            top_logprobs: Some(vec![
                vec![],
                vec![TopLogprob {
                    token_id: 7,
                    logprob: -2.0,
                }],
            ]),
            finish_reason: Some(FinishReason::Length),
            index: Some(1),
            disaggregated_params: None,
            cached_tokens: Some(129),
        }
    }

    #[test]
    fn answers_have_the_golden_bytes() {
        let check = |output: EngineOutput, golden: &str| {
            let bytes = encode(&Annotated::data(output.clone()));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.replace(' ', ""));
            assert_eq!(decode(&bytes).unwrap(), Annotated::data(output));
        };
        let token = EngineOutput {
            token_ids: vec![128_000],
            ..EngineOutput::default()
        };
        check(token, "01 00 01 80e807");
        check(
            full(),
            "01 3f 03 05 ac02 ffffffff0f 01 01 8101 000000000000f8bf 01 000000000000e0bf \
             02 00 01 07 00000000000000c0",
        );
    }

    #[test]
    fn what_has_no_compact_form_is_json() {
        let check = |answer: Annotated<EngineOutput>| {
            let bytes = encode(&answer);
            assert_eq!(bytes, serde_json::to_vec(&answer).unwrap());
            assert_eq!(decode(&bytes).unwrap(), answer);
        };
        check(Annotated::error(WorkerFailure {
            kind: ErrorKind::Overloaded,
            message: "full".to_owned(),
        }));
        check(Annotated {
            event: Some("note".to_owned()),
            ..Annotated::data(full())
        });
        check(Annotated::data(EngineOutput {
            disaggregated_params: Some(serde_json::json!({"a": 1})),
            ..full()
        }));
        check(Annotated::data(EngineOutput {
            finish_reason: Some(FinishReason::Error("x".to_owned())),
            ..full()
        }));
    }

    #[test]
    fn what_is_cut_or_too_long_is_unreadable() {
        let bytes = encode(&Annotated::data(full()));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        for bad in [
            [bytes.as_slice(), &[0]].concat(),
            vec![COMPACT, ALL + 1, 0],
            vec![COMPACT, FINISH_REASON, 0, 5],
            // A length, and a number, that need more than 32 bits.
            vec![COMPACT, 0, 0xff, 0xff, 0xff, 0xff, 0x1f],
            vec![COMPACT, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        ] {
            assert!(decode(&bad).is_err(), "{bad:?}");
        }
    }

    /// In eighths, which the reader of JSON reads without rounding.
    fn log_prob() -> impl Strategy<Value = f64> {
        (-8000..=0).prop_map(|eighths| f64::from(eighths) / 8.0)
    }

    proptest! {
        #[test]
        fn both_forms_say_the_same(
            token_ids in vec(any::<u32>(), 0..5),
            cum_log_probs in option::of(log_prob()),
            log_probs in option::of(vec(log_prob(), 0..5)),
            top in option::of(vec(vec((any::<u32>(), log_prob()), 0..4), 0..4)),
            finish in option::of(0_u8..5),
            index in option::of(any::<u32>()),
            cached_tokens in option::of(any::<u32>()),
        ) {
            let top_logprobs = top.map(|top| {
                let alternative = |(token_id, logprob)| TopLogprob { token_id, logprob };
                top.into_iter()
                    .map(|token| token.into_iter().map(alternative).collect())
                    .collect()
            });
            let answer = Annotated::data(EngineOutput {
                token_ids,
                cum_log_probs,
                log_probs,
                top_logprobs,
                finish_reason: finish.and_then(finish_reason),
                index,
                disaggregated_params: None,
                cached_tokens,
            });
            let compact = encode(&answer);
            prop_assert_eq!(compact[0], COMPACT);
            prop_assert_eq!(&decode(&compact).unwrap(), &answer);
            let json = serde_json::to_vec(&answer).unwrap();
            prop_assert_eq!(&decode(&json).unwrap(), &answer);
        }

        #[test]
        fn nothing_makes_a_reader_panic(bytes in vec(any::<u8>(), 0..64)) {
            let compact = [&[COMPACT], bytes.as_slice()].concat();
            if let Ok(answer) = decode(&compact) {
                prop_assert!(answer.data.is_some());
            }
        }
    }
}
