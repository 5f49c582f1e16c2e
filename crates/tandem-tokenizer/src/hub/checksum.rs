//! Whether a downloaded file is what the hub has.
//!
//! The hub names a file's content in its `etag`: large files by SHA-256, others as git does, by
//! SHA-1 of a header and the content.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// Whether the content of `path` is what `etag` names. Hubs that name contents in another way are
/// taken at their word.
pub(super) fn matches(path: &Path, etag: &str) -> io::Result<bool> {
    let is_hex = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut context = match etag.len() {
        64 if is_hex => Context::new(&SHA256),
        40 if is_hex => {
            let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            let length = path.metadata()?.len();
            context.update(format!("blob {length}\0").as_bytes());
            context
        }
        _ => return Ok(true),
    };
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        context.update(&buffer[..count]);
    }
    let digest = context.finish();
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(hex.eq_ignore_ascii_case(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_names_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "what is up, doc?").unwrap();
        let check = |etag: &str| matches(&file, etag).unwrap();
        // `git hash-object` and `sha256sum`; the first is the example of "Pro Git".
        assert!(check("bd9dbf5aae1a3862dd1526723246b20206e5fc37"));
        assert!(check(
            "af4e812d13b4eae6da91024f15f7679dae49d40aee3fb4c7216b56d04193f46c"
        ));
        assert!(!check("bd9dbf5aae1a3862dd1526723246b20206e5fc38"));
        assert!(!check(&"0".repeat(64)));
        assert!(check("W/some-other-scheme"));
    }
}
