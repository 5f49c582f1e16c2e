//! The forward pass over a batch that mixes prompts, prompt chunks and single tokens.

use std::ops::Range;
use std::path::Path;

use tandem_kv_cache::{BlockId, BlockStore, KvShape};

use super::adapter::{AdaptedRows, Adapter, Projection};
use super::attention::Attention;
use super::layer::{Branch, Layer, add_rows, gate_rows, norm, norm_rows};
use super::rope::{Rope, angles, rotate};
use super::{ModelConfig, ModelError, TensorSource, Values};
use crate::engine::embedded::kernel::{Compute, LANES, Matrix, Quantization};

/// A decoder-only transformer.
#[derive(Debug)]
pub struct Decoder {
    config: ModelConfig,
    fingerprint: String,
    /// The embedding table, unless the output layer doubles as one.
    embedding: Option<Values>,
    layers: Vec<Layer>,
    adapters: Vec<Adapter>,
    norm: Vec<f32>,
    output: Matrix,
    /// Of layers that see everything, and of those with a window if they rotate in another way.
    rotations: Vec<Rotation>,
}

/// What rotary embeddings need at each position.
#[derive(Debug)]
struct Rotation {
    dims: usize,
    frequencies: Vec<f32>,
    magnitude: f32,
}

impl Rotation {
    fn new(rope: &Rope) -> Self {
        let (frequencies, magnitude) = rope.frequencies();
        Self {
            dims: rope.dims,
            frequencies,
            magnitude,
        }
    }

    /// Cosines and sines of each row's position.
    fn angles(&self, batch: &Batch<'_>) -> Vec<f32> {
        let mut all = vec![0.0; batch.rows * self.dims];
        let positions = batch
            .spans
            .iter()
            .flat_map(|span| span.start..span.start + span.tokens.len());
        for (out, position) in all.chunks_exact_mut(self.dims).zip(positions) {
            angles(&self.frequencies, self.magnitude, position, out);
        }
        all
    }
}

/// New tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The tokens to compute.
    pub tokens: &'a [u32],
    /// Position of the first: how many came before.
    pub start: usize,
    /// Row of the first in the batch.
    pub row: usize,
    /// The adapter that it uses, if any.
    pub adapter: Option<usize>,
    /// Blocks of the whole sequence, with room for the new tokens.
    pub blocks: &'a [BlockId],
    /// After how many of the tokens, the last ones, the logits are wanted.
    pub wanted: usize,
}

/// What one forward pass computes.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    spans: Vec<Span<'a>>,
    rows: usize,
}

impl Span<'_> {
    /// Its rows of the batch.
    fn rows(&self) -> Range<usize> {
        self.row..self.row + self.tokens.len()
    }

    /// Those whose logits are wanted.
    pub(in super::super) fn wanted_rows(&self) -> Range<usize> {
        let end = self.rows().end;
        end - self.wanted..end
    }
}

impl<'a> Batch<'a> {
    /// Adds new tokens of a sequence; `span.row` is set here.
    pub fn push(&mut self, span: Span<'a>) {
        let row = self.rows;
        self.rows += span.tokens.len();
        self.spans.push(Span { row, ..span });
    }

    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What was added.
    pub fn spans(&self) -> &[Span<'a>] {
        &self.spans
    }
}

/// Multiplies a batch by the weights of the layers, and by what its adapters add to them.
struct Products<'a> {
    compute: &'a Compute,
    layers: &'a [Layer],
    adapted: Vec<AdaptedRows<'a>>,
}

impl Products<'_> {
    /// Multiplies `x` (`[row][inputs]`); `out` becomes `[panel][row][LANES]`.
    fn apply(&self, (index, projection): (usize, Projection), x: &[f32], out: &mut Vec<f32>) {
        let layer = &self.layers[index];
        let weights = match projection {
            Projection::Qkv => &layer.qkv,
            Projection::Output => &layer.output,
            Projection::GateUp => &layer.gate_up,
            Projection::Down => &layer.down,
        };
        weights.apply(self.compute, x, out);
        for rows in &self.adapted {
            rows.add(self.compute, (index, projection), x, out);
        }
    }
}

/// Buffers that a forward pass reuses from layer to layer.
#[derive(Debug, Default)]
struct Scratch {
    normed: Vec<f32>,
    product: Vec<f32>,
    /// Queries, keys and values of each row.
    heads: Vec<f32>,
    tiles: Vec<f32>,
    attended: Vec<f32>,
    gated: Vec<f32>,
}

impl Decoder {
    /// Loads all weights, rounded as `quantization` says.
    ///
    /// # Errors
    /// A weight is missing, or not what `config` says.
    pub fn load(
        config: ModelConfig,
        source: &impl TensorSource,
        quantization: Quantization,
    ) -> Result<Self, ModelError> {
        let (vocab, hidden) = (config.vocab_size, config.hidden);
        let embedding = source.tensor("model.embed_tokens.weight", &[vocab, hidden])?;
        let (embedding, output) = if config.tied {
            (None, embedding)
        } else {
            let output = source.tensor("lm_head.weight", &[vocab, hidden])?;
            (Some(embedding.detach()), output)
        };
        let layers = (0..config.layers)
            .map(|index| Layer::load(source, &config, (index, &quantization)))
            .collect::<Result<_, _>>()?;
        let mut rotations = vec![Rotation::new(&config.rope)];
        if let Some(sliding) = &config.sliding
            && sliding.rope != config.rope
        {
            rotations.push(Rotation::new(&sliding.rope));
        }
        Ok(Self {
            fingerprint: format!("{config:?} {quantization:?} {}", source.fingerprint()),
            embedding,
            layers,
            adapters: Vec::new(),
            norm: norm(source, &config, ("model.norm.weight", hidden))?,
            output: Matrix::pack(&[output], hidden, quantization.of_output()),
            rotations,
            config,
        })
    }

    /// Loads the LoRA adapter in `directory`, and returns what its [`Span::adapter`] is and text
    /// that differs between adapters whose KV blocks are not interchangeable.
    ///
    /// # Errors
    /// It is not an adapter of this model, or not one of the supported kind.
    pub fn add_adapter(&mut self, directory: &Path) -> Result<(usize, String), ModelError> {
        let adapter = Adapter::load(directory, &self.config)?;
        let digest = format!("{:032x}", adapter.digest());
        self.adapters.push(adapter);
        Ok((self.adapters.len() - 1, digest))
    }

    /// Dimensions and switches.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Text that differs between models whose KV blocks are not interchangeable.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Shape of this model's KV blocks.
    pub fn kv_shape(&self, block_size: usize) -> KvShape {
        self.config.kv_shape(block_size)
    }

    /// Computes the batch, writes its keys and values into `store`, and returns the logits that
    /// are wanted, `[wanted tokens of all spans][vocab]`.
    pub fn forward(
        &self,
        compute: &Compute,
        batch: &Batch<'_>,
        store: &mut BlockStore,
    ) -> Vec<f32> {
        let mut x = self.embed(batch);
        let angles: Vec<_> = self
            .rotations
            .iter()
            .map(|rotation| rotation.angles(batch))
            .collect();
        let products = Products {
            compute,
            layers: &self.layers,
            adapted: self.adapted(batch),
        };
        let mut scratch = Scratch::default();
        for (index, layer) in self.layers.iter().enumerate() {
            let eps = self.config.rms_eps;
            let norm = (&*layer.attention_norm, eps);
            norm_rows(compute, &x, norm, &mut scratch.normed);
            products.apply(
                (index, Projection::Qkv),
                &scratch.normed,
                &mut scratch.product,
            );
            let window = self.config.window(index);
            let rotation = if window.is_some() {
                angles.last()
            } else {
                angles.first()
            };
            let angles = rotation.map_or(&[][..], Vec::as_slice);
            self.split_heads(compute, layer, angles, &mut scratch);
            self.remember(batch, index, &scratch.heads, store);
            let attention = Attention {
                compute,
                store,
                layer: index,
                heads: self.config.heads,
                scores: self.config.scores,
                window,
                stride: self.heads_width(),
            };
            let Scratch {
                heads,
                tiles,
                attended,
                ..
            } = &mut scratch;
            attention.run(heads, &batch.spans, tiles, attended);
            self.finish_layer(&products, index, &mut x, &mut scratch);
        }
        self.logits(compute, batch, &x, &mut scratch)
    }

    /// What comes after attention: its projection, and the feed-forward part.
    fn finish_layer(
        &self,
        products: &Products<'_>,
        index: usize,
        x: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (eps, width) = (self.config.rms_eps, self.config.hidden);
        let (compute, layer) = (products.compute, &self.layers[index]);
        let Scratch {
            normed,
            product,
            attended,
            gated,
            ..
        } = scratch;
        products.apply((index, Projection::Output), attended, product);
        let branch = Branch {
            bias: layer.output_bias.as_deref(),
            norm: layer.attention_out_norm.as_deref().map(|norm| (norm, eps)),
        };
        add_rows(compute, product, branch, (&mut *x, width));
        norm_rows(compute, x, (&layer.mlp_norm, eps), normed);
        products.apply((index, Projection::GateUp), normed, product);
        let gate = (self.config.activation, self.config.intermediate);
        gate_rows(compute, product, gate, gated);
        products.apply((index, Projection::Down), gated, product);
        let branch = Branch {
            bias: None,
            norm: layer.mlp_out_norm.as_deref().map(|norm| (norm, eps)),
        };
        add_rows(compute, product, branch, (x, width));
    }

    /// The rows of each adapter that the batch uses.
    fn adapted(&self, batch: &Batch<'_>) -> Vec<AdaptedRows<'_>> {
        let rows_of = |adapter: usize| {
            let spans = batch.spans.iter();
            let spans = spans.filter(|span| span.adapter == Some(adapter));
            spans.flat_map(Span::rows).collect()
        };
        let adapters = self.adapters.iter().enumerate();
        let adapted = adapters.map(|(index, adapter)| AdaptedRows {
            adapter,
            rows: rows_of(index),
        });
        adapted.filter(|adapted| !adapted.rows.is_empty()).collect()
    }

    fn embed(&self, batch: &Batch<'_>) -> Vec<f32> {
        let width = self.config.hidden;
        let mut x = vec![0.0; batch.rows * width];
        let tokens = batch.spans.iter().flat_map(|span| span.tokens);
        for (row, &token) in x.chunks_exact_mut(width).zip(tokens) {
            let token = token as usize;
            match &self.embedding {
                None => self.output.copy_row(token, row),
                Some(table) => row.copy_from_slice(&table.row(token, width)),
            }
            for x in row {
                *x *= self.config.embedding_scale;
            }
        }
        x
    }

    fn heads_width(&self) -> usize {
        (self.config.heads + 2 * self.config.kv_heads) * self.config.head_dim
    }

    /// Brings the product of `qkv` into rows of heads, and normalises and rotates them by `angles`,
    /// which has as many numbers per row as dimensions are rotated.
    fn split_heads(&self, compute: &Compute, layer: &Layer, angles: &[f32], scratch: &mut Scratch) {
        let config = &self.config;
        let dim = config.head_dim;
        let width = self.heads_width();
        let product = &scratch.product;
        let rows = product.len() / width;
        let rotated_dims = angles.len() / rows;
        scratch.heads.resize(rows * width, 0.0);
        let operations = rows * width * 4;
        compute.for_each_piece(&mut scratch.heads, width, operations, |row, heads| {
            for (panel, out) in heads.chunks_exact_mut(LANES).enumerate() {
                out.copy_from_slice(&product[(panel * rows + row) * LANES..][..LANES]);
            }
            for (x, bias) in heads
                .iter_mut()
                .zip(layer.qkv_bias.as_deref().unwrap_or_default())
            {
                *x += bias;
            }
            let angles = &angles[row * rotated_dims..][..rotated_dims];
            let rotated = config.heads + config.kv_heads;
            for (index, head) in heads.chunks_exact_mut(dim).take(rotated).enumerate() {
                if let Some((queries, keys)) = &layer.head_norms {
                    let weight = if index < config.heads { queries } else { keys };
                    let plain = head.to_vec();
                    compute
                        .kernel()
                        .rms_norm(&plain, weight, config.rms_eps, head);
                }
                rotate(head, angles);
            }
        });
    }

    /// Writes the keys and values of all rows into their blocks.
    fn remember(&self, batch: &Batch<'_>, layer: usize, heads: &[f32], store: &mut BlockStore) {
        let shape = *store.shape();
        let width = self.config.kv_heads * self.config.head_dim;
        let mut rows = heads.chunks_exact(self.heads_width());
        for span in &batch.spans {
            let end = span.start + span.tokens.len();
            for position in span.start..end {
                let Some(row) = rows.next() else { return };
                let (keys, values) = row[row.len() - 2 * width..].split_at(width);
                let block = store.write(span.blocks[position / shape.block_size]);
                shape.write(block, layer, position % shape.block_size, (keys, values));
            }
        }
    }

    fn logits(
        &self,
        compute: &Compute,
        batch: &Batch<'_>,
        x: &[f32],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let width = self.config.hidden;
        let mut wanted = Vec::new();
        for rows in batch.spans.iter().map(Span::wanted_rows) {
            wanted.extend_from_slice(&x[rows.start * width..rows.end * width]);
        }
        if wanted.is_empty() {
            return Vec::new();
        }
        let rows = wanted.len() / width;
        let norm = (&*self.norm, self.config.rms_eps);
        norm_rows(compute, &wanted, norm, &mut scratch.normed);
        self.output
            .apply(compute, &scratch.normed, &mut scratch.product);
        let mut logits = vec![0.0; rows * self.config.vocab_size];
        for (row, logits) in logits.chunks_exact_mut(self.config.vocab_size).enumerate() {
            for (panel, out) in logits.chunks_mut(LANES).enumerate() {
                let sums = &scratch.product[(panel * rows + row) * LANES..];
                out.copy_from_slice(&sums[..out.len()]);
            }
        }
        if let Some(cap) = self.config.logit_softcap {
            compute.kernel().softcap(&mut logits, cap);
        }
        logits
    }
}
