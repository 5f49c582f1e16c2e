//! A GPU, and the kernels on it.

use std::sync::Arc;

use cudarc::driver::sys::is_culib_present;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DriverError};
use cudarc::nvrtc::Ptx;
use tracing::info;

use super::ModelError;

/// Machine code for compute capabilities 8.0, 9.0 and 10.0, and what the driver compiles for
/// others: made of `kernels.cu` by `make kernels`.
const KERNELS: &[u8] = include_bytes!("kernels.fatbin");

/// A GPU with the kernels loaded. All work goes through one stream, in order.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
    pub(super) kernels: Kernels,
    name: String,
    capability: (i32, i32),
}

/// The kernels, by their names in `kernels.cu`.
#[derive(Debug)]
pub(super) struct Kernels {
    pub(super) embed: CudaFunction,
    pub(super) norm_rows: CudaFunction,
    pub(super) add_norm: CudaFunction,
    pub(super) gate: CudaFunction,
    pub(super) softcap: CudaFunction,
    pub(super) split_heads: CudaFunction,
    /// For up to 16, 32, 64 and any number of rows; with one plane, and with two.
    pub(super) products: [[CudaFunction; 2]; 4],
    /// For heads up to 64, 128 and 256 wide; with 8 rows in a tile, and with more.
    pub(super) attend: [[CudaFunction; 2]; 3],
    pub(super) merge_parts: CudaFunction,
}

impl Kernels {
    fn load(module: &Arc<CudaModule>) -> Result<Self, DriverError> {
        let kernel = |name: &str| module.load_function(name);
        let pair = |a: &str, b: &str| Ok([kernel(a)?, kernel(b)?]);
        Ok(Self {
            embed: kernel("embed")?,
            norm_rows: kernel("norm_rows")?,
            add_norm: kernel("add_norm")?,
            gate: kernel("gate")?,
            softcap: kernel("softcap")?,
            split_heads: kernel("split_heads")?,
            products: [
                pair("product_16_1", "product_16_2")?,
                pair("product_32_1", "product_32_2")?,
                pair("product_64_1", "product_64_2")?,
                pair("product_many_1", "product_many_2")?,
            ],
            attend: [
                pair("attend_64_8", "attend_64_32")?,
                pair("attend_128_8", "attend_128_32")?,
                pair("attend_256_8", "attend_256_16")?,
            ],
            merge_parts: kernel("merge_parts")?,
        })
    }
}

impl Gpu {
    /// Opens a GPU.
    ///
    /// # Errors
    /// There is no driver, no such GPU, or it is too old.
    pub(crate) fn open(ordinal: usize) -> Result<Arc<Self>, ModelError> {
        #[allow(
            unsafe_code,
            reason = "asks the dynamic linker for the driver's library"
        )]
        // SAFETY: loading libcuda runs its initialisers, as linking against it would.
        let driver = unsafe { is_culib_present() };
        if !driver {
            return Err(ModelError::Gpu(
                "there is no NVIDIA driver (libcuda.so.1) here; use --device cpu".to_owned(),
            ));
        }
        let failed = |what: &str| {
            let what = format!("GPU {ordinal} {what}");
            move |error: DriverError| ModelError::Gpu(format!("{what}: {error}"))
        };
        let context = CudaContext::new(ordinal).map_err(failed("cannot be opened"))?;
        let capability = context
            .compute_capability()
            .map_err(failed("does not answer"))?;
        let name = context.name().map_err(failed("does not answer"))?;
        if capability < (8, 0) {
            let (major, minor) = capability;
            return Err(ModelError::Gpu(format!(
                "GPU {ordinal} ({name}) has compute capability {major}.{minor}; 8.0 is needed"
            )));
        }
        let module = context
            .load_module(Ptx::from_binary(KERNELS.to_vec()))
            .map_err(failed("does not load the kernels; driver 580 is needed"))?;
        info!(gpu = ordinal, name, "computing on a GPU");
        Ok(Arc::new(Self {
            stream: context.default_stream(),
            kernels: Kernels::load(&module).map_err(failed("misses a kernel"))?,
            context,
            name,
            capability,
        }))
    }

    /// Text that differs between GPUs that may round in other ways.
    pub(crate) fn arithmetic(&self) -> String {
        let (major, minor) = self.capability;
        format!("cuda {major}.{minor}")
    }

    /// Copies `data` to the GPU.
    pub(super) fn upload<T: cudarc::driver::DeviceRepr>(
        &self,
        data: &[T],
    ) -> Result<CudaSlice<T>, ModelError> {
        let bytes = size_of_val(data);
        self.stream
            .clone_htod(data)
            .map_err(|error| self.no_memory(bytes, error))
    }

    /// Memory for `length` numbers, which are zero.
    pub(super) fn allocate<T>(&self, length: usize) -> Result<CudaSlice<T>, ModelError>
    where
        T: cudarc::driver::DeviceRepr + cudarc::driver::ValidAsZeroBits,
    {
        self.stream
            .alloc_zeros(length)
            .map_err(|error| self.no_memory(length * size_of::<T>(), error))
    }

    fn no_memory(&self, bytes: usize, error: DriverError) -> ModelError {
        let name = &self.name;
        let state = match self.context.mem_get_info() {
            Ok((free, total)) => format!("{free} of {total} bytes are free"),
            Err(error) => error.to_string(),
        };
        ModelError::Gpu(format!(
            "{name} does not give {bytes} bytes of memory ({error}); {state}"
        ))
    }
}

/// What the driver says of a step that worked before. Nothing can be computed on the GPU after an
/// error, so the engine ends, which its worker notices.
///
/// # Panics
/// If the step failed.
pub(super) fn must<T>(result: Result<T, DriverError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the GPU failed: {error}"),
    }
}
