//! tandem's encoder with all four heads beside three passes of ModernBERT-base in candle, which
//! is what a router runs that asks three classifiers. Same text, same core, in turns.
//!
//! ```text
//! cd bench && RAYON_NUM_THREADS=1 taskset -c 0 cargo run --release --bin encoder [MODEL_DIR]
//! ```
//!
//! The weights of ModernBERT-base are random: they cost what the real ones cost.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::modernbert::{Config, ModernBert};
use futures::executor::block_on;
use tandem_classifier::{Classifier, EncoderClassifier, Heads, Settings};

/// Tokens of the compared pass.
const TOKENS: usize = 128;
/// Classifiers that the compared router runs: domain, jailbreak, personal data.
const PASSES: u32 = 3;
/// Rounds; in each, both sides run.
const ROUNDS: usize = 5;
/// Calls of tandem's encoder per round.
const CALLS: usize = 60;

/// 128 tokens of what users write.
const TEXT: &str = include_str!("../../128-tokens.txt");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shipped = "../models/tandem-nano-encoder".to_owned();
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or(shipped));
    let start = Instant::now();
    let nano = EncoderClassifier::nano(&dir, Settings::default())?;
    let loading = start.elapsed();
    let text: Arc<str> = TEXT.trim_end().into();
    let base = modernbert_base()?;
    let ids = Tensor::arange(1_u32, TOKENS as u32 + 1, &Device::Cpu)?.unsqueeze(0)?;
    let mask = Tensor::ones((1, TOKENS), DType::U32, &Device::Cpu)?;
    println!("threads of candle: {}", candle_core::utils::get_num_threads());

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        for _ in 0..CALLS {
            let start = Instant::now();
            block_on(nano.analyze(Arc::clone(&text), Heads::ALL))?;
            ours.push(start.elapsed());
        }
        let start = Instant::now();
        base.forward(&ids, &mask)?;
        theirs.push(start.elapsed());
    }
    // The first round warms up.
    let (ours, theirs) = (median(ours.split_off(CALLS)), median(theirs.split_off(1)));
    let router = theirs * PASSES;
    println!("tandem-nano-encoder, loading          {loading:>10.3?}");
    println!("tandem-nano-encoder, four heads   p50 {ours:>10.3?}");
    println!("ModernBERT-base in candle, 1 pass p50 {theirs:>10.3?}");
    println!("ModernBERT-base in candle, {PASSES} passes  {router:>10.3?}");
    println!("factor {:>37.1}", router.as_secs_f64() / ours.as_secs_f64());
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn modernbert_base() -> candle_core::Result<ModernBert> {
    let config = Config {
        vocab_size: 50_368,
        hidden_size: 768,
        num_hidden_layers: 22,
        num_attention_heads: 12,
        intermediate_size: 1152,
        max_position_embeddings: 8192,
        layer_norm_eps: 1e-5,
        pad_token_id: 50_283,
        global_attn_every_n_layers: 3,
        global_rope_theta: 160_000.0,
        local_attention: 128,
        local_rope_theta: 10_000.0,
        classifier_config: None,
    };
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    ModernBert::load(builder, &config)
}
