//! What the fuzz targets need of the inside.

pub use crate::extproc::fuzzing::{Session, messages};

use tandem_protocol::openai::Usage;

use crate::usage::UsageReader;

/// The token counts of an answer that comes in pieces.
pub fn usage(stream: bool, pieces: &[&[u8]]) -> Option<Usage> {
    let mut reader = UsageReader::new(stream);
    for piece in pieces {
        reader.read(piece);
    }
    reader.finish()
}
