//! Paged attention: scores, softmax and weighted values of each sequence, block by block.

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use tandem_kv_cache::{BlockStore, KvShape};

use super::{Scores, Span};
use crate::engine::embedded::kernel::{Compute, LANES, Panels, Product};

/// Query rows (tokens times heads of a group) that are computed together: enough to reuse each
/// block, few enough that their scores over a long context stay in the cache.
const TILE_ROWS: usize = 24;
/// Multiplications below which other threads cost more than they save.
const WORTH_SPLITTING: usize = 1 << 17;

/// What attention needs to know beside the queries.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    pub(super) compute: &'a Compute,
    pub(super) store: &'a BlockStore,
    pub(super) layer: usize,
    pub(super) heads: usize,
    pub(super) scores: Scores,
    /// How many tokens one sees, itself included, if not all before it.
    pub(super) window: Option<usize>,
    /// Distance of the query rows in `rows`.
    pub(super) stride: usize,
}

/// Some tokens of one sequence, for one key-value head.
struct Tile<'a> {
    span: &'a Span<'a>,
    /// First row in the batch.
    row: usize,
    tokens: usize,
    kv_head: usize,
    /// `[token][head of the group][head_dim]`.
    out: &'a mut [f32],
}

/// The positions whose keys and values a tile reads.
#[derive(Clone, Copy)]
struct Context {
    /// Beginning of the block with the first that one of its tokens sees.
    from: usize,
    to: usize,
}

impl Attention<'_> {
    /// Attends with each of `rows` (query heads first) to its sequence. `out` gets
    /// `[row][head][head_dim]`; `scratch` is overwritten.
    pub(super) fn run(
        &self,
        rows: &[f32],
        spans: &[Span<'_>],
        scratch: &mut Vec<f32>,
        out: &mut Vec<f32>,
    ) {
        let shape = *self.store.shape();
        let count = rows.len() / self.stride;
        let width = self.heads * shape.head_dim;
        scratch.resize(count * width, 0.0);
        out.resize(count * width, 0.0);
        let tiles = self.tiles(spans, scratch);
        let operations: usize = spans
            .iter()
            .map(|span| {
                let context = span.start + span.tokens.len();
                let seen = self.window.map_or(context, |window| window.min(context));
                span.tokens.len() * seen * width
            })
            .sum();
        if self.compute.threads() == 1 || operations < WORTH_SPLITTING {
            let mut scores = Vec::new();
            for mut tile in tiles {
                self.attend(rows, &mut tile, &mut scores);
            }
        } else {
            tiles
                .into_par_iter()
                .for_each_init(Vec::new, |scores, mut tile| {
                    self.attend(rows, &mut tile, scores);
                });
        }
        self.gather(spans, scratch, out);
    }

    fn group(&self) -> usize {
        self.heads / self.store.shape().kv_heads
    }

    fn tile_tokens(&self) -> usize {
        (TILE_ROWS / self.group()).max(1)
    }

    /// Cuts `out` into one piece per tile, in the order in which `gather` reads them.
    fn tiles<'a>(&self, spans: &'a [Span<'a>], mut out: &'a mut [f32]) -> Vec<Tile<'a>> {
        let shape = self.store.shape();
        let mut tiles = Vec::new();
        let mut first_row = 0;
        for span in spans {
            let count = span.tokens.len();
            for start in (0..count).step_by(self.tile_tokens()) {
                let tokens = self.tile_tokens().min(count - start);
                for kv_head in 0..shape.kv_heads {
                    let length = tokens * self.group() * shape.head_dim;
                    let (piece, rest) = out.split_at_mut(length);
                    out = rest;
                    tiles.push(Tile {
                        span,
                        row: first_row + start,
                        tokens,
                        kv_head,
                        out: piece,
                    });
                }
            }
            first_row += count;
        }
        tiles
    }

    fn attend(&self, rows: &[f32], tile: &mut Tile<'_>, scratch: &mut Vec<f32>) {
        let dim = self.store.shape().head_dim;
        let kernel = self.compute.kernel();
        let group = self.group();
        let count = tile.tokens * group;
        let start = tile.span.start + (tile.row - tile.span.row);
        let context = self.context(start, tile.tokens);
        let score_len = (context.to - context.from).div_ceil(LANES) * count * LANES;
        let query_len = count * dim;
        scratch.resize(query_len * 2 + score_len, 0.0);
        let (queries, rest) = scratch.split_at_mut(query_len);
        let (sums, scores) = rest.split_at_mut(query_len);

        self.scale_queries(rows, tile, queries);
        self.score(tile, queries, (count, context), scores);
        if let Some(cap) = self.scores.softcap {
            kernel.softcap(scores, cap);
        }
        let stride = count * LANES;
        let totals: Vec<f32> = (0..count)
            .map(|row| {
                let end = start + row / group + 1;
                let first = self.window.map_or(0, |window| end.saturating_sub(window));
                let visible = first.saturating_sub(context.from)..end - context.from;
                kernel.softmax(&mut scores[row * LANES..], stride, visible)
            })
            .collect();
        self.weigh(tile, scores, (count, context), sums);
        for (row, (out, total)) in tile.out.chunks_exact_mut(dim).zip(totals).enumerate() {
            let scale = 1.0 / total;
            for (panel, out) in out.chunks_exact_mut(LANES).enumerate() {
                let sums = &sums[(panel * count + row) * LANES..];
                for (out, &sum) in out.iter_mut().zip(sums) {
                    *out = sum * scale;
                }
            }
        }
    }

    /// What `tokens` tokens from position `start` on see. Beginning at a block changes no bit of
    /// the result: what a token does not see has weight 0.
    fn context(&self, start: usize, tokens: usize) -> Context {
        let first = self
            .window
            .map_or(0, |window| (start + 1).saturating_sub(window));
        Context {
            from: first - first % self.store.shape().block_size,
            to: start + tokens,
        }
    }

    fn scale_queries(&self, rows: &[f32], tile: &Tile<'_>, queries: &mut [f32]) {
        let width = self.group() * self.store.shape().head_dim;
        for (token, queries) in queries.chunks_exact_mut(width).enumerate() {
            let row = &rows[(tile.row + token) * self.stride..];
            let row = &row[tile.kv_head * width..][..width];
            for (query, &x) in queries.iter_mut().zip(row) {
                *query = x * self.scores.scale;
            }
        }
    }

    /// `scores[group of 16 positions][row][lane]`.
    fn score(
        &self,
        tile: &Tile<'_>,
        queries: &[f32],
        (rows, context): (usize, Context),
        scores: &mut [f32],
    ) {
        let shape = self.store.shape();
        let per_block = shape.block_size / LANES * rows * LANES;
        let first = context.from / shape.block_size;
        let blocks = &tile.span.blocks[first..shape.blocks_for(context.to)];
        for (&block, out) in blocks.iter().zip(scores.chunks_mut(per_block)) {
            let keys = &self.store.read(block)[shape.keys(self.layer, tile.kv_head)];
            self.compute.kernel().multiply(&mut Product {
                x: queries,
                stride: shape.head_dim,
                rows,
                depth: shape.head_dim,
                panels: Panels::F32 {
                    data: keys,
                    panel: shape.head_dim * LANES,
                    step: LANES,
                },
                out,
                accumulate: false,
            });
        }
    }

    /// `sums[panel of head_dim][row][lane]`: the values, weighted by the scores.
    fn weigh(
        &self,
        tile: &Tile<'_>,
        scores: &[f32],
        (rows, context): (usize, Context),
        sums: &mut [f32],
    ) {
        let shape = self.store.shape();
        for (group, scores) in scores.chunks_exact(rows * LANES).enumerate() {
            let position = context.from + group * LANES;
            let block = tile.span.blocks[position / shape.block_size];
            let values = &self.store.read(block)[shape.values(self.layer, tile.kv_head)];
            self.compute.kernel().multiply(&mut Product {
                x: scores,
                stride: LANES,
                rows,
                // Slots beyond the context were never written.
                depth: LANES.min(context.to - position),
                panels: Panels::F32 {
                    data: &values[position % shape.block_size * shape.head_dim..],
                    panel: LANES,
                    step: shape.head_dim,
                },
                out: sums,
                accumulate: group > 0,
            });
        }
    }

    /// Brings the tiles' results into the order of the rows.
    fn gather(&self, spans: &[Span<'_>], mut tiles: &[f32], out: &mut [f32]) {
        let KvShape {
            kv_heads, head_dim, ..
        } = *self.store.shape();
        let part = self.group() * head_dim;
        let mut rows = out;
        for span in spans {
            let (of_span, rest) = rows.split_at_mut(span.tokens.len() * kv_heads * part);
            rows = rest;
            for out in of_span.chunks_mut(self.tile_tokens() * kv_heads * part) {
                let tokens = out.len() / (kv_heads * part);
                for kv_head in 0..kv_heads {
                    for token in 0..tokens {
                        let (piece, rest) = tiles.split_at(part);
                        tiles = rest;
                        out[(token * kv_heads + kv_head) * part..][..part].copy_from_slice(piece);
                    }
                }
            }
        }
    }
}
