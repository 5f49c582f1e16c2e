//! Cost of turning one generated token into text.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tandem_tokenizer::{Detokenizer, StopMatcher, Tokenizer};

const TEXT: &str = "The quick brown fox jumps over the lazy dog. Naïve café, 漢字 and 🦀: \
    fn main() { println!(\"{}\", 42); }\n\n1. First item\n2. Second item\n";

fn per_token(c: &mut Criterion) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny");
    let tokenizer = Arc::new(Tokenizer::from_dir(&directory).expect("test data"));
    let text = TEXT.repeat(20);
    let ids = tokenizer.encode(&text, false).expect("test data");
    let mut group = c.benchmark_group("per_token");
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("detokenize", |b| {
        b.iter(|| {
            let mut detokenizer = Detokenizer::new(Arc::clone(&tokenizer), &ids[..50], true);
            for id in &ids {
                black_box(detokenizer.push(*id));
            }
        });
    });
    group.bench_function("detokenize_and_match_stops", |b| {
        let stops = vec!["\n\nUser:".to_owned(), "<|im_end|>".to_owned()];
        b.iter(|| {
            let mut detokenizer = Detokenizer::new(Arc::clone(&tokenizer), &ids[..50], true);
            let mut matcher = StopMatcher::new(stops.clone(), false);
            for id in &ids {
                if let Some(text) = detokenizer.push(*id) {
                    black_box(matcher.push(&text));
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, per_token);
criterion_main!(benches);
