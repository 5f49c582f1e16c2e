//! Labelled rows: JSON lines, gzipped or not.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::EvalError;

/// A text and its domain.
#[derive(Debug, Clone, Deserialize)]
pub struct DomainRow {
    /// The text.
    pub text: String,
    /// Its domain.
    pub label: String,
}

/// A text and whether it is a jailbreak.
#[derive(Debug, Clone, Deserialize)]
pub struct JailbreakRow {
    /// The text.
    pub text: String,
    /// 1 for a jailbreak or prompt injection, 0 for anything else.
    pub label: u8,
}

/// A text and the personal data in it.
#[derive(Debug, Clone, Deserialize)]
pub struct PiiRow {
    /// The text.
    pub text: String,
    /// The personal data.
    pub spans: Vec<GoldSpan>,
    /// The types that were annotated.
    #[serde(default)]
    pub scope: Scope,
}

/// A piece of personal data; offsets count characters.
#[derive(Debug, Clone, Deserialize)]
pub struct GoldSpan {
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// Type.
    pub label: String,
}

/// Which types were annotated in a row.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Scope {
    /// These.
    Types(Vec<String>),
    /// All; the file says `ALL`.
    All(String),
}

impl Default for Scope {
    fn default() -> Self {
        Self::All("ALL".into())
    }
}

impl Scope {
    pub(super) fn contains(&self, kind: &str) -> bool {
        match self {
            Self::All(_) => true,
            Self::Types(types) => types.iter().any(|other| other == kind),
        }
    }
}

/// Two questions and whether one cached answer serves both.
#[derive(Debug, Clone, Deserialize)]
pub struct CachePairRow {
    /// One question.
    pub text_a: String,
    /// The other.
    pub text_b: String,
    /// 1 if one answer serves both.
    pub label: u8,
}

/// Reads all rows of a file, unpacking it if its name ends in `.gz`.
pub fn read_rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, EvalError> {
    let read = |source| EvalError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if is_packed {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut rows = Vec::new();
    for (index, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(read)?;
        if !line.trim().is_empty() {
            let row = serde_json::from_str(&line).map_err(|source| EvalError::Row {
                path: path.to_owned(),
                line: index + 1,
                source,
            })?;
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The files of a directory whose name starts with `task` and names the split, such as
/// `pii.valid.jsonl.gz`.
pub(super) fn files(dir: &Path, task: &str, split: &str) -> Result<Vec<PathBuf>, EvalError> {
    let read = |source| EvalError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let matches = name.is_some_and(|name| {
            name.starts_with(&format!("{task}.")) && name.contains(&format!(".{split}.jsonl"))
        });
        if matches {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_from_plain_and_packed_files() {
        let dir = tempfile::tempdir().unwrap();
        let lines =
            "{\"text\": \"a\", \"label\": 1, \"kind\": \"x\"}\n\n{\"text\": \"b\", \"label\": 0}\n";
        std::fs::write(dir.path().join("jailbreak.valid.jsonl"), lines).unwrap();
        let packed = File::create(dir.path().join("jailbreak.valid.jsonl.gz")).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, lines.as_bytes()).unwrap();
        encoder.finish().unwrap();
        let files = files(dir.path(), "jailbreak", "valid").unwrap();
        assert_eq!(files.len(), 2);
        for file in files {
            let rows: Vec<JailbreakRow> = read_rows(&file).unwrap();
            assert_eq!(
                (rows.len(), rows[0].label, rows[1].text.as_str()),
                (2, 1, "b")
            );
        }
    }

    #[test]
    fn scopes() {
        let row: PiiRow =
            serde_json::from_str("{\"text\": \"\", \"spans\": [], \"scope\": [\"PERSON\"]}")
                .unwrap();
        assert!(row.scope.contains("PERSON") && !row.scope.contains("GPE"));
        let row: PiiRow =
            serde_json::from_str("{\"text\": \"\", \"spans\": [], \"scope\": \"ALL\"}").unwrap();
        assert!(row.scope.contains("GPE"));
    }

    #[test]
    fn a_bad_row_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        std::fs::write(&path, "{\"text\": 1}\n").unwrap();
        let error = read_rows::<DomainRow>(&path).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
