//! Which files of a model are fetched, with as many attempts as it takes.
//!
//! The layout of the cache and the requests about models are those of the `hf-hub` library.

use std::path::PathBuf;

use hf_hub::api::RepoInfo;
use hf_hub::api::tokio::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

use super::backoff::{Backoff, Failed};
use super::transfer::{PATIENCE, Transfer, TransferError};
use super::{HubFiles, HubOptions, ModelId, OnProgress, WEIGHTS, WEIGHTS_INDEX, shards};
use crate::HubError;

/// Files that are fetched if the model has them.
const OPTIONAL: [&str; 5] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Directory of the model in the cache, whether complete or not.
pub(super) fn cached(id: &ModelId, options: &HubOptions) -> Option<PathBuf> {
    let config = Cache::new(options.cache.clone())
        .repo(repo(id))
        .get(options.files.needed()[0])?;
    config.parent().map(PathBuf::from)
}

/// Fetches what is missing or has changed; returns the model's directory in the cache. A hub that
/// cannot be reached is asked only once if there is `complete`, a copy to fall back to.
pub(super) async fn fetch(
    id: &ModelId,
    options: &HubOptions,
    complete: bool,
    on_progress: OnProgress,
) -> Result<PathBuf, HubError> {
    let download = Download {
        api: api(id, options)?,
        id,
        options,
        on_progress,
    };
    let info = download.info(complete).await?;
    let has = |file: &str| {
        info.siblings
            .iter()
            .any(|sibling| sibling.rfilename == file)
    };
    let mut directory = PathBuf::new();
    for file in options.files.needed() {
        if !has(file) {
            return Err(download.incomplete(file));
        }
        let path = download.file(file, &info.sha).await?;
        directory = path.parent().map(PathBuf::from).unwrap_or_default();
    }
    if options.files != HubFiles::Adapter {
        for file in OPTIONAL.into_iter().filter(|file| has(file)) {
            download.file(file, &info.sha).await?;
        }
    }
    if options.files == HubFiles::Model {
        for file in download.weights(has, &info.sha).await? {
            download.file(&file, &info.sha).await?;
        }
    }
    Ok(directory)
}

struct Download<'a> {
    api: Api,
    id: &'a ModelId,
    options: &'a HubOptions,
    on_progress: OnProgress,
}

impl Download<'_> {
    /// What the hub says about the model.
    async fn info(&self, once: bool) -> Result<RepoInfo, HubError> {
        let mut backoff = Backoff::new(self.options.first_pause);
        let repo = self.api.repo(repo(self.id));
        loop {
            let info = tokio::time::timeout(PATIENCE, repo.info()).await;
            let info = info.map_err(|_| TransferError::Stalled);
            let error = match info.and_then(|info| info.map_err(TransferError::from)) {
                Ok(info) => return Ok(info),
                Err(error) => error,
            };
            self.wait(&mut backoff, &error, Failed::default(), once)
                .await
                .map_err(|()| self.refused(&error))?;
        }
    }

    /// Waits before the next attempt, unless there should be none.
    async fn wait(
        &self,
        backoff: &mut Backoff,
        error: &TransferError,
        failed: Failed,
        give_up: bool,
    ) -> Result<(), ()> {
        if give_up || !error.is_passing() {
            return Err(());
        }
        let failed = Failed {
            asked: error.asked(),
            ..failed
        };
        let pause = backoff.pause(failed, rand::random()).ok_or(())?;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Names the files of the weights.
    async fn weights(
        &self,
        has: impl Fn(&str) -> bool,
        commit: &str,
    ) -> Result<Vec<String>, HubError> {
        if has(WEIGHTS) {
            return Ok(vec![WEIGHTS.to_owned()]);
        }
        if !has(WEIGHTS_INDEX) {
            return Err(self.incomplete(WEIGHTS));
        }
        let index = self.file(WEIGHTS_INDEX, commit).await?;
        shards(&index).map_err(|error| self.failed(WEIGHTS_INDEX, error.to_string()))
    }

    /// Path of a file of the given commit, fetched if the cache does not have it.
    async fn file(&self, file: &str, commit: &str) -> Result<PathBuf, HubError> {
        let cache = Cache::new(self.options.cache.clone()).repo(repo(self.id));
        let path = cache.pointer_path(commit).join(file);
        if path.is_file() {
            // The revision may have come back to a commit that was fetched before.
            let noted = cache.create_ref(commit);
            return noted
                .map(|()| path)
                .map_err(|error| self.failed(file, error.to_string()));
        }
        let transfer = Transfer {
            api: &self.api,
            cache: &cache,
            url: self.api.repo(repo(self.id)).url(file),
            file,
            on_progress: &self.on_progress,
        };
        let mut backoff = Backoff::new(self.options.first_pause);
        let mut was_corrupt = false;
        loop {
            let mut failed = Failed::default();
            let error = match transfer.attempt(&mut failed).await {
                Ok(path) => return Ok(path),
                Err(error) => error,
            };
            let is_corrupt = matches!(error, TransferError::Corrupt { .. });
            // Twice the same wrong bytes are not an accident of the network.
            let give_up = is_corrupt && was_corrupt;
            was_corrupt |= is_corrupt;
            self.wait(&mut backoff, &error, failed, give_up)
                .await
                .map_err(|()| self.refused_file(file, &error))?;
        }
    }

    fn refused_file(&self, file: &str, error: &TransferError) -> HubError {
        match self.refused(error) {
            HubError::NotFound { .. } => self.incomplete(file),
            HubError::Unreachable { message, .. } => self.failed(file, message),
            other => other,
        }
    }

    fn refused(&self, error: &TransferError) -> HubError {
        let status = error.status().map(|status| status.as_u16());
        let model = self.id.text.clone();
        let endpoint = self.options.endpoint.clone();
        match status {
            Some(401 | 403) => HubError::Unauthorized { model, endpoint },
            Some(404) => HubError::NotFound { model, endpoint },
            _ => self.unreachable(causes(error)),
        }
    }

    fn unreachable(&self, message: String) -> HubError {
        HubError::Unreachable {
            model: self.id.text.clone(),
            endpoint: self.options.endpoint.clone(),
            message,
        }
    }

    fn incomplete(&self, file: &str) -> HubError {
        HubError::Incomplete {
            model: self.id.text.clone(),
            file: file.to_owned(),
        }
    }

    fn failed(&self, file: &str, message: String) -> HubError {
        HubError::Download {
            model: self.id.text.clone(),
            file: file.to_owned(),
            message,
        }
    }
}

fn repo(id: &ModelId) -> Repo {
    Repo::with_revision(id.name.clone(), RepoType::Model, id.revision.clone())
}

fn api(id: &ModelId, options: &HubOptions) -> Result<Api, HubError> {
    let builder = ApiBuilder::from_cache(Cache::new(options.cache.clone()))
        .with_endpoint(options.endpoint.trim_end_matches('/').to_owned())
        .with_token(options.token.clone())
        .with_progress(false);
    builder.build().map_err(|error| HubError::Unreachable {
        model: id.text.clone(),
        endpoint: options.endpoint.clone(),
        message: causes(&error),
    })
}

/// An error with its causes, which name what really happened.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
