//! A linear layer.

use super::product::{Packed, Quantised, Store};

/// `y = W x + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Packed,
    bias: Option<Vec<f32>>,
}

impl Linear {
    pub(crate) fn new(weight: Packed, bias: Option<Vec<f32>>) -> Self {
        Self { weight, bias }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.inputs
    }

    pub(crate) fn outputs(&self) -> usize {
        self.weight.outputs
    }

    /// Applies the layer to every row of `input`; `output` is resized.
    pub(crate) fn set(&self, input: &[f32], output: &mut Vec<f32>, scratch: &mut Quantised) {
        output.resize(input.len() / self.inputs() * self.outputs(), 0.0);
        self.run(input, Store::Set, output, scratch);
    }

    /// Adds what the layer makes of `input` to `output`.
    pub(crate) fn add(&self, input: &[f32], output: &mut [f32], scratch: &mut Quantised) {
        self.run(input, Store::Add, output, scratch);
    }

    fn run(&self, input: &[f32], store: Store, output: &mut [f32], scratch: &mut Quantised) {
        self.weight
            .multiply(input, self.bias.as_deref(), store, output, scratch);
    }
}
