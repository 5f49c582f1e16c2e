//! The tiers below the engine's blocks: whose they are, and the ways there and back.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tandem_kv_cache::tier::{KvTiers, Onboarding, TierBlocks, TierConfig};
use tandem_kv_cache::{BlockCache, BlockId, BlockIdentity, KvShape};
use xxhash_rust::xxh3::Xxh3;

use super::adapters::Adapters;
use super::disagg::KvIdentity;
use super::model::ModelError;
use super::scheduler::Scheduler;
use super::sequence::{Role, Sequence};
use super::step::Model;
use super::thread::Command;
use crate::engine::EngineCounters;

/// Changes when blocks of earlier versions must not be used any more.
const FORMAT: u32 = 1;
/// Bytes of a file that are hashed at a time.
const CHUNK: usize = 1 << 20;
/// Most blocks that leave the device before the tiers make room for more: they are in memory twice.
const EVICTED_AT_ONCE: usize = 64;
/// Files that say how a model computes, by the ends of their names.
const MODEL_FILES: [&str; 3] = ["safetensors", "gguf", "json"];

/// What the blocks in the tiers that `config` asks for are those of. Those on disk are of exactly
/// this model: unlike those of workers that run now, they may come from before its files were
/// replaced.
pub(super) fn fingerprint(
    config: &TierConfig,
    (kv, model, adapters): (&KvIdentity, &Model, &Adapters),
    directory: Option<&Path>,
) -> Result<String, ModelError> {
    let weights = match directory.filter(|_| config.disk.is_some()) {
        Some(directory) => digest(directory)?,
        None => 0,
    };
    let arithmetic = model.arithmetic();
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "{FORMAT} {version} {arithmetic} {weights:032x} {}{}",
        kv.fingerprint,
        adapters.fingerprint()
    ))
}

/// Opens the tiers that `config` asks for.
pub(super) fn open(
    config: &TierConfig,
    (fingerprint, shape): (&str, KvShape),
    cache: &Arc<BlockCache>,
    commands: &Sender<Command>,
) -> Result<KvTiers, ModelError> {
    let blocks = TierBlocks { fingerprint, shape };
    let commands = commands.clone();
    let wake = move || {
        // A failure means that the engine has stopped.
        commands.send(Command::Onboarded).ok();
    };
    Ok(KvTiers::open(config, blocks, Arc::clone(cache), wake)?)
}

/// Hash of every byte of the model's files.
fn digest(directory: &Path) -> Result<u128, ModelError> {
    let entries = std::fs::read_dir(directory).map_err(ModelError::read(directory))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(ModelError::read(directory))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| MODEL_FILES.contains(&extension)) {
            paths.push(path);
        }
    }
    paths.sort();
    let mut hash = Xxh3::new();
    for path in paths {
        let bytes = digest_file(&path, &mut hash).map_err(ModelError::read(&path))?;
        hash.update(&bytes.to_le_bytes());
    }
    Ok(hash.digest128())
}

fn digest_file(path: &Path, hash: &mut Xxh3) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(total),
            count => {
                hash.update(&chunk[..count]);
                total += count as u64;
            }
        }
    }
}

impl Scheduler {
    /// Lets a new sequence wait, and reads what it will need meanwhile.
    pub(super) fn enqueue(&mut self, mut sequence: Sequence) {
        // The blocks of a remote prefill come from the worker that computed them.
        let local = !matches!(sequence.role, Role::Decode(_));
        if self.limits.prefix_reuse && local && !self.tiers.is_empty() {
            let wanted = sequence.reusable(self.limits.block_size);
            let hashes: Vec<_> = wanted.iter().map(|block| block.sequence).collect();
            let here = self.cache.update(|pool| pool.prefix(&hashes).len());
            let ask = self.ask(&sequence, here);
            sequence.onboarding = self.tiers.read_ahead(&wanted[here..], ask);
        }
        self.waiting.push_back(sequence);
    }

    /// Looks for those of the blocks `wanted` that the device does not have: all but the first
    /// `here`.
    pub(super) fn look_below(
        &self,
        sequence: &Sequence,
        wanted: &[BlockIdentity],
        here: usize,
    ) -> Onboarding {
        let wanted = &wanted[here..];
        if let Role::Decode(Some(_)) = sequence.role {
            return self.tiers.in_memory(wanted);
        }
        let ask = self.ask(sequence, here);
        self.tiers.onboard(wanted, &sequence.onboarding, ask)
    }

    /// Takes blocks from the pool; what they held goes to the tiers.
    pub(super) fn allocate(&mut self, count: usize) -> Option<Vec<BlockId>> {
        let allocated = self.cache.update(|pool| pool.allocate_evicting(count))?;
        if !allocated.evicted.is_empty() && self.tiers.keep_evicted() {
            let (evicted, identities): (Vec<_>, Vec<_>) =
                allocated.evicted.into_iter().rev().unzip();
            let groups = evicted.chunks(EVICTED_AT_ONCE);
            for (blocks, identities) in groups.zip(identities.chunks(EVICTED_AT_ONCE)) {
                let data = self.blocks.take_all(blocks);
                let given = identities.iter().copied().zip(data);
                let given = given.filter_map(|(identity, data)| Some((identity, data?)));
                self.tiers.evicted(given.collect());
            }
        }
        Some(allocated.blocks)
    }

    /// Lets those sequences run whose blocks have come from the tiers, or will not come.
    pub(super) fn land_ready(&mut self, counters: &mut EngineCounters) {
        let ready = |sequence: &mut Sequence| {
            !sequence.onboarding.is_empty() && sequence.onboarding.is_ready()
        };
        let ready: Vec<_> = self.fetching.extract_if(.., ready).collect();
        for mut sequence in ready {
            self.land(&mut sequence);
            sequence.count_admission(counters);
            self.running.push(sequence);
        }
    }

    /// Puts the blocks that came from the tiers into those of the sequence.
    pub(super) fn land(&mut self, sequence: &mut Sequence) {
        let onboarding = std::mem::take(&mut sequence.onboarding);
        let data = self.tiers.take(onboarding);
        let landed = sequence.committed + data.len();
        let targets = &sequence.blocks[sequence.committed..];
        self.blocks.install_all(targets, data);
        sequence.computed = landed * self.limits.block_size;
        self.committer().commit(sequence);
    }
}
