//! The forward pass on a GPU.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, DeviceRepr, ValidAsZeroBits};
use tandem_kv_cache::KvShape;

use super::ModelError;
use super::blocks::DeviceBlocks;
use super::gpu::{Gpu, must};
use super::launch::{Attending, Heads, Joining, Norm, OfLayer, Planes, partial_len};
use super::plan::{Cut, Plan};
use super::weights::{DeviceMatrix, Upload, padded};
use crate::engine::embedded::model::{Batch, Layer, ModelConfig, Place, TensorSource, norm};

/// A decoder-only transformer whose weights are in the memory of a GPU.
#[derive(Debug)]
pub(in super::super) struct CudaDecoder {
    gpu: Arc<Gpu>,
    config: ModelConfig,
    fingerprint: String,
    cut: Cut,
    planes: usize,
    /// The embedding table, unless the output layer doubles as one.
    embedding: Option<DeviceMatrix>,
    layers: Vec<Layer<DeviceMatrix, CudaSlice<f32>>>,
    norm: CudaSlice<f32>,
    output: DeviceMatrix,
    /// Of layers that see everything, and of those with a window if they rotate in another way.
    rotations: Vec<(CudaSlice<f32>, f32)>,
    scratch: Scratch,
}

/// Buffers of a forward pass, which grow with the largest batch so far.
#[derive(Debug)]
struct Scratch {
    list: CudaSlice<i32>,
    /// `[row][hidden]`
    x: CudaSlice<f32>,
    product: CudaSlice<f32>,
    queries: CudaSlice<f32>,
    partials: CudaSlice<f32>,
    inputs: Planes,
    logits: CudaSlice<f32>,
}

impl Scratch {
    fn new(gpu: &Gpu, planes: usize) -> Result<Self, ModelError> {
        Ok(Self {
            list: gpu.allocate(1)?,
            x: gpu.allocate(1)?,
            product: gpu.allocate(1)?,
            queries: gpu.allocate(1)?,
            partials: gpu.allocate(1)?,
            inputs: Planes {
                numbers: gpu.allocate(planes)?,
                planes,
            },
            logits: gpu.allocate(1)?,
        })
    }
}

fn grow<T: DeviceRepr + ValidAsZeroBits>(gpu: &Gpu, buffer: &mut CudaSlice<T>, length: usize) {
    if buffer.len() < length {
        // The half more keeps growing answers from asking for memory at every step.
        *buffer = must(gpu.stream.alloc_zeros(length + length / 2));
    }
}

impl CudaDecoder {
    /// Loads all weights.
    ///
    /// # Errors
    /// A weight is missing or not what `config` says, or the GPU cannot hold the model.
    pub(in super::super) fn load(
        gpu: Arc<Gpu>,
        config: ModelConfig,
        source: &impl TensorSource,
    ) -> Result<Self, ModelError> {
        let cut = Cut::new(&config)?;
        let (vocab, hidden) = (config.vocab_size, config.hidden);
        let embedding = source.tensor("model.embed_tokens.weight", &[vocab, hidden])?;
        let place = Upload::for_weights(&gpu, &embedding);
        let embedding = place.matrix(&[embedding], hidden)?;
        let (embedding, output) = if config.tied {
            (None, embedding)
        } else {
            let output = source.tensor("lm_head.weight", &[vocab, hidden])?;
            (Some(embedding), place.matrix(&[output], hidden)?)
        };
        let layers = (0..config.layers)
            .map(|index| Layer::load(source, &config, (index, &place)))
            .collect::<Result<_, _>>()?;
        let sliding = config.sliding.iter().map(|sliding| &sliding.rope);
        let ropes = std::iter::once(&config.rope).chain(sliding);
        let rotations = ropes.map(|rope| {
            let (frequencies, magnitude) = rope.frequencies();
            Ok((gpu.upload(&frequencies)?, magnitude))
        });
        let arithmetic = gpu.arithmetic();
        Ok(Self {
            fingerprint: format!("{config:?} {arithmetic} {}", source.fingerprint()),
            cut,
            planes: place.planes,
            embedding,
            output,
            layers,
            norm: gpu.upload(&norm(source, &config, ("model.norm.weight", hidden))?)?,
            rotations: rotations.collect::<Result<_, ModelError>>()?,
            scratch: Scratch::new(&gpu, place.planes)?,
            config,
            gpu,
        })
    }

    /// Dimensions and switches.
    pub(in super::super) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Text that differs between models whose KV blocks are not interchangeable.
    pub(in super::super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Text that differs between GPUs that may round in other ways.
    pub(in super::super) fn arithmetic(&self) -> String {
        self.gpu.arithmetic()
    }

    /// Memory for the keys and values of `blocks` blocks, beside a tier of `host_bytes` in the
    /// host's memory.
    pub(in super::super) fn blocks(
        &self,
        shape: KvShape,
        blocks: usize,
        host_bytes: u64,
    ) -> Result<DeviceBlocks, ModelError> {
        DeviceBlocks::new(&self.gpu, shape, blocks, host_bytes)
    }

    /// Computes the batch, writes its keys and values into `blocks`, and returns the logits that
    /// are wanted, `[wanted tokens of all spans][vocab]`.
    ///
    /// # Panics
    /// If the GPU fails.
    pub(in super::super) fn forward(
        &mut self,
        batch: &Batch<'_>,
        blocks: &mut DeviceBlocks,
    ) -> Vec<f32> {
        let plan = Plan::new(batch, blocks.shape(), self.cut);
        self.prepare(&plan, blocks.shape());
        self.embed(&plan);
        for index in 0..self.layers.len() {
            self.attention(index, &plan, blocks);
            self.feed_forward(index, &plan);
        }
        self.logits(&plan)
    }

    /// Brings the plan to the GPU, and makes room for what it needs.
    fn prepare(&mut self, plan: &Plan, shape: &KvShape) {
        let config = &self.config;
        let (gpu, scratch, rows) = (&self.gpu, &mut self.scratch, plan.rows);
        grow(gpu, &mut scratch.list, plan.numbers.len());
        let mut list = scratch.list.slice_mut(..plan.numbers.len());
        must(gpu.stream.memcpy_htod(&plan.numbers, &mut list));
        let heads = config.heads * config.head_dim;
        let widest = (heads + 2 * config.kv_heads * config.head_dim)
            .max(2 * config.intermediate)
            .max(config.hidden);
        let deepest = config.hidden.max(config.intermediate).max(heads);
        grow(gpu, &mut scratch.x, rows * config.hidden);
        grow(gpu, &mut scratch.product, rows * widest);
        grow(gpu, &mut scratch.queries, rows * heads);
        let of = self.of_layer(shape, 0);
        let scratch = &mut self.scratch;
        grow(
            &self.gpu,
            &mut scratch.partials,
            partial_len(plan, self.cut, of),
        );
        let inputs = rows.max(plan.wanted.len()) * padded(deepest) * self.planes;
        grow(&self.gpu, &mut scratch.inputs.numbers, inputs);
        let logits = plan.wanted.len() * self.config.vocab_size;
        grow(&self.gpu, &mut scratch.logits, logits);
    }

    fn of_layer<'a>(&self, shape: &'a KvShape, layer: usize) -> OfLayer<'a> {
        OfLayer {
            shape,
            layer,
            heads: self.config.heads,
        }
    }

    /// The rows of the embedding table, and the inputs of the first layer.
    fn embed(&mut self, plan: &Plan) {
        let (gpu, config, scratch) = (&self.gpu, &self.config, &mut self.scratch);
        let table = self.embedding.as_ref().unwrap_or(&self.output);
        let tokens = scratch.list.slice(plan.tokens.clone());
        let x = (&mut scratch.x, config.hidden);
        gpu.embed(&tokens, (table, self.planes), x, config.embedding_scale);
        let first = self.layers.first();
        let norm = Norm {
            weight: first.map_or(&self.norm, |first| &first.attention_norm),
            eps: config.rms_eps,
        };
        let out = (&mut scratch.inputs, padded(config.hidden));
        gpu.norm_rows(&scratch.x, (None, plan.rows), norm, out);
    }

    /// The attention of a layer; leaves the inputs of its feed-forward part.
    fn attention(&mut self, index: usize, plan: &Plan, blocks: &mut DeviceBlocks) {
        let (gpu, config, layer) = (&self.gpu, &self.config, &self.layers[index]);
        let window = config.window(index);
        let rotation = if window.is_some() {
            self.rotations.last()
        } else {
            self.rotations.first()
        };
        let (frequencies, magnitude) = rotation.expect("there is a rotation");
        let shape = *blocks.shape();
        let of = self.of_layer(&shape, index);
        let scratch = &mut self.scratch;
        let inputs = (&scratch.inputs, plan.rows);
        gpu.multiply(inputs, &layer.qkv, &mut scratch.product);
        let heads = Heads {
            bias: layer.qkv_bias.as_ref(),
            norms: layer.head_norms.as_ref(),
            eps: config.rms_eps,
            rotation: (frequencies, *magnitude),
            scale: config.scores.scale,
        };
        let planned = (plan, &scratch.list);
        let written = (&mut scratch.queries, &mut blocks.numbers);
        gpu.split_heads(&scratch.product, planned, (&heads, of), written);
        let attending = Attending {
            cut: self.cut,
            window,
            scores: config.scores,
        };
        let wide = padded(config.heads * config.head_dim);
        let written = (&mut scratch.partials, &mut scratch.inputs, wide);
        let read = (&scratch.queries, &blocks.numbers);
        gpu.attend(read, planned, (attending, of), written);
        gpu.multiply(
            (&scratch.inputs, plan.rows),
            &layer.output,
            &mut scratch.product,
        );
        let joining = Joining {
            bias: layer.output_bias.as_ref(),
            after: layer.attention_out_norm.as_ref(),
            next: Norm {
                weight: &layer.mlp_norm,
                eps: config.rms_eps,
            },
        };
        let out = (&mut scratch.inputs, padded(config.hidden));
        gpu.add_norm((&mut scratch.x, plan.rows), &scratch.product, joining, out);
    }

    /// The feed-forward part of a layer; leaves the inputs of the next layer, or of the output.
    fn feed_forward(&mut self, index: usize, plan: &Plan) {
        let (gpu, config, layer) = (&self.gpu, &self.config, &self.layers[index]);
        let scratch = &mut self.scratch;
        gpu.multiply(
            (&scratch.inputs, plan.rows),
            &layer.gate_up,
            &mut scratch.product,
        );
        let how = (config.activation, config.intermediate);
        let out = (&mut scratch.inputs, padded(config.intermediate));
        gpu.gate((&scratch.product, plan.rows), how, out);
        gpu.multiply(
            (&scratch.inputs, plan.rows),
            &layer.down,
            &mut scratch.product,
        );
        let next = self.layers.get(index + 1);
        let joining = Joining {
            bias: None,
            after: layer.mlp_out_norm.as_ref(),
            next: Norm {
                weight: next.map_or(&self.norm, |next| &next.attention_norm),
                eps: config.rms_eps,
            },
        };
        let out = (&mut scratch.inputs, padded(config.hidden));
        gpu.add_norm((&mut scratch.x, plan.rows), &scratch.product, joining, out);
    }

    fn logits(&mut self, plan: &Plan) -> Vec<f32> {
        let count = plan.wanted.len();
        if count == 0 {
            // So that an error is seen at the step that made it.
            must(self.gpu.stream.synchronize());
            return Vec::new();
        }
        let norm = Norm {
            weight: &self.norm,
            eps: self.config.rms_eps,
        };
        let (gpu, scratch) = (&self.gpu, &mut self.scratch);
        let rows = scratch.list.slice(plan.wanted.clone());
        let out = (&mut scratch.inputs, padded(self.config.hidden));
        gpu.norm_rows(&scratch.x, (Some(&rows), count), norm, out);
        gpu.multiply((&scratch.inputs, count), &self.output, &mut scratch.logits);
        let length = count * self.config.vocab_size;
        if let Some(cap) = self.config.logit_softcap {
            gpu.softcap((&mut scratch.logits, length), cap);
        }
        let logits = must(gpu.stream.clone_dtoh(&scratch.logits.slice(..length)));
        must(gpu.stream.synchronize());
        logits
    }
}
