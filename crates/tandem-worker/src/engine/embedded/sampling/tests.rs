use tandem_protocol::engine::SamplingOptions;

use super::*;

fn sampler(options: SamplingOptions) -> Sampler {
    let request = EngineRequest {
        sampling_options: options,
        ..EngineRequest::default()
    };
    Sampler::new(&request, &SamplingDefaults::default())
}

fn history<'a>(prompt: &'a [u32], output: &'a [u32]) -> History<'a> {
    History {
        prompt,
        output,
        banned: &[],
        allowed: None,
    }
}

/// Tokens chosen for the first 400 output positions.
fn draw(options: SamplingOptions, logits: &[f32]) -> Vec<u32> {
    let sampler = sampler(options);
    let output = vec![0; 400];
    (0..400)
        .map(|len| {
            let mut logits = logits.to_vec();
            sampler
                .choose(&mut logits, history(&[], &output[..len]))
                .token
        })
        .collect()
}

fn options() -> SamplingOptions {
    SamplingOptions {
        seed: Some(11),
        ..SamplingOptions::default()
    }
}

#[test]
fn zero_temperature_takes_the_first_best() {
    let options = SamplingOptions {
        temperature: Some(0.0),
        ..options()
    };
    let tokens = draw(options, &[1.0, 3.0, 3.0, f32::NAN]);
    assert!(tokens.iter().all(|&token| token == 1));
}

#[test]
fn seeds_repeat_and_differ() {
    let logits = [0.0; 50];
    let with = |seed| {
        draw(
            SamplingOptions {
                seed: Some(seed),
                ..options()
            },
            &logits,
        )
    };
    assert_eq!(with(5), with(5));
    assert_ne!(with(5), with(6));
    assert_ne!(with(-5), with(5));
}

#[test]
fn frequencies_follow_the_softmax() {
    let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
    let tokens = draw(options(), &logits);
    for (token, expect) in [(0, 200), (1, 120), (2, 80)] {
        let count = tokens.iter().filter(|&&t| t == token).count();
        assert!(count.abs_diff(expect) < 40, "{token}: {count}");
    }
}

#[test]
fn candidates_are_cut() {
    let logits: Vec<f32> = (0_u8..200).map(|i| f32::from(i) * 0.01).collect();
    let least = |options: SamplingOptions| draw(options, &logits).into_iter().min();
    let top_k = SamplingOptions {
        top_k: Some(3),
        ..options()
    };
    assert_eq!(least(top_k), Some(197));
    // e^0, e^-1, e^-2, ... have 63 %, 23 %, 9 % of the mass.
    let steep: Vec<f32> = (0_u8..100).map(|i| -f32::from(i)).collect();
    let top_p = SamplingOptions {
        top_p: Some(0.8),
        ..options()
    };
    assert_eq!(draw(top_p, &steep).into_iter().max(), Some(1));
    let min_p = SamplingOptions {
        min_p: Some(0.1),
        ..options()
    };
    assert_eq!(draw(min_p, &steep).into_iter().max(), Some(2));
    let flat = SamplingOptions {
        top_p: Some(0.5),
        ..options()
    };
    let seen: FxHashSet<_> = draw(flat, &[0.0; 1000]).into_iter().collect();
    assert!(
        seen.iter().all(|&token| token < 501),
        "ties go to the lower token"
    );
    assert!(seen.len() > 100);
}

#[test]
fn penalties_change_the_choice() {
    let check = |options: SamplingOptions, expect: u32| {
        let options = SamplingOptions {
            temperature: Some(0.0),
            ..options
        };
        let mut logits = vec![2.0, 1.9, 1.8, -1.0];
        let history = history(&[0], &[1, 1]);
        assert_eq!(sampler(options).choose(&mut logits, history).token, expect);
    };
    check(options(), 0);
    let repetition_penalty = Some(1.5);
    check(
        SamplingOptions {
            repetition_penalty,
            ..options()
        },
        2,
    );
    // Presence and frequency look at the output only.
    let presence_penalty = Some(1.0);
    check(
        SamplingOptions {
            presence_penalty,
            ..options()
        },
        0,
    );
    let frequency_penalty = Some(-0.1);
    check(
        SamplingOptions {
            frequency_penalty,
            ..options()
        },
        1,
    );
}

#[test]
fn banned_tokens_do_not_come() {
    let sampler = sampler(SamplingOptions {
        temperature: Some(0.0),
        ..options()
    });
    let history = History {
        banned: &[0, 2],
        ..history(&[], &[])
    };
    assert_eq!(sampler.choose(&mut [5.0, 1.0, 4.0], history).token, 1);
}

#[test]
fn log_probabilities_are_of_the_raw_logits() {
    let mut request = EngineRequest::default();
    request.output_options.logprobs = Some(2);
    request.sampling_options = SamplingOptions {
        temperature: Some(0.0),
        repetition_penalty: Some(4.0),
        ..options()
    };
    let sampler = Sampler::new(&request, &SamplingDefaults::default());
    let logits = [0.5_f32.ln() + 3.0, 0.3_f32.ln() + 3.0, 0.2_f32.ln() + 3.0];
    let choice = sampler.choose(&mut logits.clone(), history(&[0], &[]));
    assert_eq!(choice.token, 1);
    assert!((choice.logprob.unwrap() - 0.3_f64.ln()).abs() < 1e-6);
    let top = choice.top.unwrap();
    assert_eq!((top[0].token_id, top[1].token_id, top.len()), (0, 1, 2));
    assert!((top[0].logprob - 0.5_f64.ln()).abs() < 1e-6);
}
