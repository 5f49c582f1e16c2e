//! The LoRA adapters of an engine, by the names that requests use.

use std::sync::Arc;

use tandem_protocol::engine::EngineRequest;

use super::model::{Decoder, ModelError};
use crate::engine::{EngineError, LoraModule};

/// The adapters that an engine has loaded.
#[derive(Debug, Clone, Default)]
pub(super) struct Adapters(Arc<[Arc<LoadedAdapter>]>);

/// An adapter that is loaded.
#[derive(Debug)]
pub(super) struct LoadedAdapter {
    /// Model name of requests; part of the hashes of its blocks.
    pub(super) name: String,
    /// Which of the decoder's it is.
    pub(super) index: usize,
    /// Differs between adapters whose blocks are not interchangeable.
    pub(super) digest: String,
}

impl Adapters {
    /// Loads `modules` into `decoder`.
    pub(super) fn load(decoder: &mut Decoder, modules: &[LoraModule]) -> Result<Self, ModelError> {
        let load = |module: &LoraModule| {
            let LoraModule { name, directory } = module;
            let (index, digest) =
                decoder
                    .add_adapter(directory)
                    .map_err(|source| ModelError::Adapter {
                        name: name.clone(),
                        source: Box::new(source),
                    })?;
            Ok(Arc::new(LoadedAdapter {
                name: name.clone(),
                index,
                digest,
            }))
        };
        modules.iter().map(load).collect::<Result<_, _>>().map(Self)
    }

    /// The adapter that answers `request`, if it is not the model itself.
    ///
    /// # Errors
    /// The request names one that is not here.
    pub(super) fn of(
        &self,
        request: &EngineRequest,
    ) -> Result<Option<&Arc<LoadedAdapter>>, EngineError> {
        let Some(name) = &request.lora_name else {
            return Ok(None);
        };
        let found = self.0.iter().find(|adapter| adapter.name == *name);
        match found {
            Some(adapter) => Ok(Some(adapter)),
            None => Err(EngineError::Invalid(format!(
                "there is no adapter {name:?}"
            ))),
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LoadedAdapter> {
        self.0.iter().map(|adapter| &**adapter)
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.iter().map(|adapter| adapter.name.clone()).collect()
    }

    /// Text that differs between sets of adapters that have other blocks under the same hashes.
    pub(super) fn fingerprint(&self) -> String {
        let mut adapters: Vec<_> = self.0.iter().collect();
        adapters.sort_by(|a, b| a.name.cmp(&b.name));
        let texts = adapters
            .iter()
            .map(|adapter| format!(" {:?} {}", adapter.name, adapter.digest));
        texts.collect()
    }
}
