//! Launches of the kernels, each with what its declaration in `kernels.cu` takes.

use std::ffi::c_void;

use cudarc::driver::result::launch_kernel;
use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaFunction, CudaSlice, CudaView, DevicePtr};
use tandem_kv_cache::KvShape;

use super::gpu::{Gpu, must};
use super::plan::{Cut, Plan, Tiles, int};
use super::weights::{DeviceMatrix, SLICES};
use crate::engine::embedded::model::{Activation, Scores};

/// Threads of most kernels' blocks.
const THREADS: usize = 256;
/// Shared memory that a block may have without asking for more.
const SHARED: usize = 48 << 10;

/// Inputs of a product: rows of bf16, in one plane or two.
#[derive(Debug)]
pub(super) struct Planes {
    pub(super) numbers: CudaSlice<u16>,
    pub(super) planes: usize,
}

impl Planes {
    /// Numbers in a plane.
    fn plane(&self) -> usize {
        self.numbers.len() / self.planes
    }

    fn check(&self, rows: usize, width: usize) {
        assert!(self.plane() >= rows * width);
    }
}

/// `Layout` of `kernels.cu`: where the keys and values of a layer are.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Layout {
    block_len: i64,
    layer: i64,
    block_size: i32,
    kv_heads: i32,
    head_dim: i32,
}

impl Layout {
    fn new(shape: &KvShape, layer: usize) -> Self {
        Self {
            block_len: long(shape.block_len()),
            layer: long(shape.keys(layer, 0).start),
            block_size: int(shape.block_size),
            kv_heads: int(shape.kv_heads),
            head_dim: int(shape.head_dim),
        }
    }
}

/// A norm's weights, and what is added to the mean square.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm<'a> {
    pub(super) weight: &'a CudaSlice<f32>,
    pub(super) eps: f32,
}

/// What becomes of a product before it joins the residual stream, and the norm that follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joining<'a> {
    pub(super) bias: Option<&'a CudaSlice<f32>>,
    pub(super) after: Option<&'a CudaSlice<f32>>,
    pub(super) next: Norm<'a>,
}

/// How a layer makes heads of its product.
#[derive(Debug)]
pub(super) struct Heads<'a> {
    pub(super) bias: Option<&'a CudaSlice<f32>>,
    /// Of queries and keys.
    pub(super) norms: Option<&'a (CudaSlice<f32>, CudaSlice<f32>)>,
    pub(super) eps: f32,
    /// Angles per position of each pair of dimensions, and what multiplies sines and cosines.
    pub(super) rotation: (&'a CudaSlice<f32>, f32),
    pub(super) scale: f32,
}

/// How a layer attends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attending {
    pub(super) cut: Cut,
    pub(super) window: Option<usize>,
    pub(super) scores: Scores,
}

/// A layer's place in the blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfLayer<'a> {
    pub(super) shape: &'a KvShape,
    pub(super) layer: usize,
    /// Query heads.
    pub(super) heads: usize,
}

/// What a kernel takes.
#[derive(Debug, Clone, Copy)]
enum Argument {
    Pointer(CUdeviceptr),
    Int(i32),
    Long(i64),
    Float(f32),
    Layout(Layout),
}

impl Argument {
    fn address(&self) -> *mut c_void {
        let address: *const c_void = match self {
            Self::Pointer(value) => std::ptr::from_ref(value).cast(),
            Self::Int(value) => std::ptr::from_ref(value).cast(),
            Self::Long(value) => std::ptr::from_ref(value).cast(),
            Self::Float(value) => std::ptr::from_ref(value).cast(),
            Self::Layout(value) => std::ptr::from_ref(value).cast(),
        };
        address.cast_mut()
    }
}

fn long(number: usize) -> i64 {
    i64::try_from(number).expect("memory is smaller than 2^63 bytes")
}

fn count(number: usize) -> Argument {
    Argument::Int(int(number))
}

fn flag(value: bool) -> Argument {
    Argument::Int(value.into())
}

/// Blocks, threads of a block, and bytes of shared memory.
type Grid = ([usize; 3], usize, usize);

impl Gpu {
    #[allow(unsafe_code, reason = "kernels are foreign functions")]
    fn launch(&self, kernel: &CudaFunction, grid: Grid, arguments: &[Argument]) {
        let (blocks, threads, shared) = grid;
        assert!(shared <= SHARED);
        let mut addresses: Vec<_> = arguments.iter().map(Argument::address).collect();
        let unsigned = |number: usize| int(number).unsigned_abs();
        // SAFETY: each method below passes what its kernel declares, and asserts that the buffers
        // are as long as the kernel assumes.
        must(unsafe {
            launch_kernel(
                kernel.cu_function(),
                blocks.map(unsigned).into(),
                (unsigned(threads), 1, 1),
                unsigned(shared),
                self.stream.cu_stream(),
                &mut addresses,
            )
        });
    }

    fn pointer<T>(&self, numbers: &impl DevicePtr<T>) -> Argument {
        let (pointer, _sync) = numbers.device_ptr(&self.stream);
        Argument::Pointer(pointer)
    }

    fn optional(&self, numbers: Option<&CudaSlice<f32>>) -> Argument {
        numbers.map_or(Argument::Pointer(0), |numbers| self.pointer(numbers))
    }

    /// Rows of `table` for `tokens`, times `scale`, into `x` (`[token][width]`).
    pub(super) fn embed(
        &self,
        tokens: &CudaView<'_, i32>,
        (table, planes): (&DeviceMatrix, usize),
        (x, width): (&mut CudaSlice<f32>, usize),
        scale: f32,
    ) {
        assert!(x.len() >= tokens.len() * width && table.inputs >= width);
        let arguments = [
            self.pointer(tokens),
            self.pointer(&table.numbers),
            Argument::Long(long(table.plane)),
            count(planes),
            count(table.inputs),
            Argument::Float(scale),
            self.pointer(x),
            count(width),
        ];
        let grid = ([tokens.len(), 1, 1], THREADS, 0);
        self.launch(&self.kernels.embed, grid, &arguments);
    }

    /// Normalises `count` rows of `x`: those that `rows` names, or the first.
    pub(super) fn norm_rows(
        &self,
        x: &CudaSlice<f32>,
        (rows, number): (Option<&CudaView<'_, i32>>, usize),
        norm: Norm<'_>,
        (out, padded): (&mut Planes, usize),
    ) {
        let width = norm.weight.len();
        out.check(number, padded);
        assert!(padded >= width && rows.is_some() | (x.len() >= number * width));
        let arguments = [
            self.pointer(x),
            rows.map_or(Argument::Pointer(0), |rows| self.pointer(rows)),
            flag(rows.is_some()),
            self.pointer(norm.weight),
            Argument::Float(norm.eps),
            count(width),
            self.pointer(&out.numbers),
            count(padded),
            Argument::Long(long(out.plane())),
            count(out.planes),
        ];
        self.launch(
            &self.kernels.norm_rows,
            ([number, 1, 1], THREADS, 0),
            &arguments,
        );
    }

    /// Adds `product` to `x`, `rows` rows of both, and normalises `x` into `out`.
    pub(super) fn add_norm(
        &self,
        (x, rows): (&mut CudaSlice<f32>, usize),
        product: &CudaSlice<f32>,
        joining: Joining<'_>,
        (out, padded): (&mut Planes, usize),
    ) {
        let width = joining.next.weight.len();
        out.check(rows, padded);
        assert!(padded >= width && x.len().min(product.len()) >= rows * width);
        for weight in [joining.bias, joining.after].into_iter().flatten() {
            assert_eq!(weight.len(), width);
        }
        let arguments = [
            self.pointer(x),
            self.pointer(product),
            self.optional(joining.bias),
            flag(joining.bias.is_some()),
            self.optional(joining.after),
            flag(joining.after.is_some()),
            self.pointer(joining.next.weight),
            Argument::Float(joining.next.eps),
            count(width),
            self.pointer(&out.numbers),
            count(padded),
            Argument::Long(long(out.plane())),
            count(out.planes),
        ];
        self.launch(
            &self.kernels.add_norm,
            ([rows, 1, 1], THREADS, 0),
            &arguments,
        );
    }

    /// `activation(gate) * up` of `rows` rows of a product, each with `width` of both.
    pub(super) fn gate(
        &self,
        (product, rows): (&CudaSlice<f32>, usize),
        (activation, width): (Activation, usize),
        (out, padded): (&mut Planes, usize),
    ) {
        out.check(rows, padded);
        assert!(padded >= width && product.len() >= rows * 2 * width);
        let arguments = [
            self.pointer(product),
            flag(activation == Activation::GeluTanh),
            count(width),
            self.pointer(&out.numbers),
            count(padded),
            Argument::Long(long(out.plane())),
            count(out.planes),
        ];
        let blocks = [rows, padded.div_ceil(THREADS * 4), 1];
        self.launch(&self.kernels.gate, (blocks, THREADS, 0), &arguments);
    }

    /// Bounds the first `length` numbers of `x` to `cap`.
    pub(super) fn softcap(&self, (x, length): (&mut CudaSlice<f32>, usize), cap: f32) {
        assert!(x.len() >= length);
        let arguments = [
            self.pointer(x),
            Argument::Long(long(length)),
            Argument::Float(cap),
        ];
        let grid = ([length.div_ceil(THREADS), 1, 1], THREADS, 0);
        self.launch(&self.kernels.softcap, grid, &arguments);
    }

    /// `rows` rows of `x` times `matrix`, into `out` (`[row][output]`).
    pub(super) fn multiply(
        &self,
        (x, rows): (&Planes, usize),
        matrix: &DeviceMatrix,
        out: &mut CudaSlice<f32>,
    ) {
        x.check(rows, matrix.inputs);
        assert!(out.len() >= rows * matrix.outputs);
        let arguments = [
            self.pointer(&x.numbers),
            Argument::Long(long(x.plane())),
            count(rows),
            self.pointer(&matrix.numbers),
            Argument::Long(long(matrix.plane)),
            count(matrix.inputs),
            self.pointer(out),
            count(matrix.outputs),
        ];
        let few = [16, 32, 64].into_iter().position(|most| rows <= most);
        let kernel = &self.kernels.products[few.unwrap_or(3)][x.planes - 1];
        let grid = match few {
            Some(size) => {
                const COLUMNS: usize = 16;
                let shared = SLICES * (16 << size) * COLUMNS * size_of::<f32>();
                ([matrix.outputs.div_ceil(COLUMNS), 1, 1], THREADS, shared)
            }
            None => {
                let blocks = [matrix.outputs.div_ceil(64), rows.div_ceil(128), 1];
                (blocks, THREADS, SHARED)
            }
        };
        self.launch(kernel, grid, &arguments);
    }

    /// Makes heads of the products of all rows: queries into `queries` (`[row][head][head_dim]`),
    /// keys and values into the blocks.
    pub(super) fn split_heads(
        &self,
        product: &CudaSlice<f32>,
        (plan, list): (&Plan, &CudaSlice<i32>),
        (how, of): (&Heads<'_>, OfLayer<'_>),
        (queries, cache): (&mut CudaSlice<f32>, &mut CudaSlice<f32>),
    ) {
        let (frequencies, magnitude) = how.rotation;
        let dim = of.shape.head_dim;
        let all = of.heads + 2 * of.shape.kv_heads;
        assert!(product.len() >= plan.rows * all * dim);
        assert!(queries.len() >= plan.rows * of.heads * dim);
        assert!(frequencies.len() * 2 <= dim);
        assert!(how.bias.is_none_or(|bias| bias.len() == all * dim));
        let norms = how.norms;
        assert!(norms.is_none_or(|(q, k)| q.len() == dim && k.len() == dim));
        let arguments = [
            self.pointer(product),
            self.optional(how.bias),
            flag(how.bias.is_some()),
            self.optional(norms.map(|(queries, _)| queries)),
            self.optional(norms.map(|(_, keys)| keys)),
            flag(norms.is_some()),
            Argument::Float(how.eps),
            self.pointer(frequencies),
            count(frequencies.len() * 2),
            Argument::Float(magnitude),
            self.pointer(&list.slice(plan.positions.clone())),
            self.pointer(&list.slice(plan.slots.clone())),
            count(of.heads),
            Argument::Float(how.scale),
            self.pointer(queries),
            self.pointer(cache),
            Argument::Layout(Layout::new(of.shape, of.layer)),
        ];
        let warps = THREADS / 32;
        let blocks = [plan.rows, all.div_ceil(warps), 1];
        let shared = warps * dim * size_of::<f32>();
        self.launch(
            &self.kernels.split_heads,
            (blocks, THREADS, shared),
            &arguments,
        );
    }

    /// Attention of all rows, into `out` (`[row][head][head_dim]`). `partials` has room for
    /// [`partial_len`] numbers.
    pub(super) fn attend(
        &self,
        (queries, cache): (&CudaSlice<f32>, &CudaSlice<f32>),
        (plan, list): (&Plan, &CudaSlice<i32>),
        (how, of): (Attending, OfLayer<'_>),
        (partials, out, padded): (&mut CudaSlice<f32>, &mut Planes, usize),
    ) {
        let dim = of.shape.head_dim;
        out.check(plan.rows, padded);
        assert!(padded >= of.heads * dim && queries.len() >= plan.rows * of.heads * dim);
        assert!(partials.len() >= partial_len(plan, how.cut, of));
        for (tiles, rows) in kinds(plan, how.cut) {
            if tiles.count() == 0 {
                continue;
            }
            let window = count(how.window.unwrap_or(0));
            let tiles_at = self.pointer(&list.slice(tiles.range.clone()));
            let written = [
                self.pointer(&out.numbers),
                count(padded),
                Argument::Long(long(out.plane())),
                count(out.planes),
            ];
            let split = split(tiles, rows, of) > 0;
            let arguments = [
                self.pointer(queries),
                self.pointer(cache),
                Argument::Layout(Layout::new(of.shape, of.layer)),
                tiles_at,
                self.pointer(&list.slice(plan.tables.clone())),
                count(of.heads),
                window,
                Argument::Float(how.scores.softcap.unwrap_or(0.0)),
                self.pointer(partials),
                flag(split),
                count(tiles.parts),
            ];
            let width = [64, 128].into_iter().filter(|&width| dim > width).count();
            let kernels = &self.kernels.attend[width];
            let kernel = &kernels[usize::from(rows > 8)];
            let part = how.cut.part();
            let parts = if split { tiles.parts } else { 1 };
            let shared = rows * (dim + part) * size_of::<f32>();
            let grid = ([tiles.count(), of.shape.kv_heads, parts], part, shared);
            self.launch(kernel, grid, &[&arguments[..], &written].concat());
            if split {
                let arguments = [
                    self.pointer(partials),
                    count(tiles.parts),
                    count(part),
                    count(rows),
                    window,
                    tiles_at,
                    count(of.shape.kv_heads),
                    count(how.cut.group),
                    count(dim),
                ];
                let grid = ([tiles.count(), of.heads, tiles.tokens], dim, 0);
                let arguments = [&arguments[..], &written].concat();
                self.launch(&self.kernels.merge_parts, grid, &arguments);
            }
        }
    }
}

/// The two kinds of tiles, with the rows of their kernels.
fn kinds(plan: &Plan, cut: Cut) -> [(&Tiles, usize); 2] {
    [(&plan.ones, cut.rows_of_one()), (&plan.several, cut.rows())]
}

/// Numbers between the two kernels, if the parts of these tiles get blocks of their own; otherwise
/// 0. What merges parts gives the same bits as what goes through them, so it is a matter of speed:
/// few tiles do not occupy a GPU.
fn split(tiles: &Tiles, rows: usize, of: OfLayer<'_>) -> usize {
    const ENOUGH_BLOCKS: usize = 512;
    const MOST_BYTES: usize = 256 << 20;
    let blocks = tiles.count() * of.shape.kv_heads;
    let length = blocks * tiles.parts * rows * (of.shape.head_dim + 2);
    let pays = tiles.parts > 1 && blocks < ENOUGH_BLOCKS;
    if pays && length * size_of::<f32>() <= MOST_BYTES {
        length
    } else {
        0
    }
}

/// Numbers that attention needs between its kernels.
pub(super) fn partial_len(plan: &Plan, cut: Cut, of: OfLayer<'_>) -> usize {
    let lengths = kinds(plan, cut).map(|(tiles, rows)| split(tiles, rows, of));
    lengths.into_iter().max().unwrap_or(0)
}
