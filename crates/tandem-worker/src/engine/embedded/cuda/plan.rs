//! What a forward pass tells the kernels about its batch: one list of whole numbers.

use std::ops::Range;

use tandem_kv_cache::KvShape;

use super::ModelError;
use crate::engine::embedded::model::{Batch, ModelConfig, Span};

/// Numbers of a tile in the list: see `Tile` in `kernels.cu`.
const TILE: usize = 4;

/// How attention is cut for the kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Whether heads are wider than 128.
    pub(super) wide: bool,
    /// Query heads of a key-value head.
    pub(super) group: usize,
    /// Whether a tile of one token needs the kernel with more rows.
    pub(super) many_heads: bool,
}

impl Cut {
    /// # Errors
    /// The heads are not what the kernels can hold.
    pub(super) fn new(config: &ModelConfig) -> Result<Self, ModelError> {
        let group = config.heads / config.kv_heads;
        let wide = config.head_dim > 128;
        let cut = Self {
            wide,
            group,
            many_heads: group > 8,
        };
        let unsupported = |feature, value: usize, supported| ModelError::Unsupported {
            feature,
            value: value.to_string(),
            supported,
        };
        if config.head_dim > 256 {
            let supported = "up to 256 on a GPU";
            return Err(unsupported("head_dim", config.head_dim, supported));
        }
        if group > cut.rows() {
            let supported = "up to 32 on a GPU, 16 if heads are wider than 128";
            return Err(unsupported("query heads per kv head", group, supported));
        }
        Ok(cut)
    }

    /// Positions in a part, and threads of a block.
    pub(super) fn part(self) -> usize {
        if self.wide { 256 } else { 128 }
    }

    /// Rows of the kernel for several tokens.
    pub(super) fn rows(self) -> usize {
        if self.wide { 16 } else { 32 }
    }

    /// Rows of the kernel for one token.
    pub(super) fn rows_of_one(self) -> usize {
        if self.many_heads { self.rows() } else { 8 }
    }
}

/// The list, and where its parts are.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) numbers: Vec<i32>,
    pub(super) rows: usize,
    pub(super) tokens: Range<usize>,
    pub(super) positions: Range<usize>,
    /// Where each row's keys and values go: `block * block_size + slot`.
    pub(super) slots: Range<usize>,
    /// The rows whose logits are wanted.
    pub(super) wanted: Range<usize>,
    pub(super) tables: Range<usize>,
    /// Tiles of one token.
    pub(super) ones: Tiles,
    /// Tiles of several.
    pub(super) several: Tiles,
}

/// Tiles of one kind.
#[derive(Debug)]
pub(super) struct Tiles {
    /// Where they are in the list.
    pub(super) range: Range<usize>,
    /// Most tokens of one.
    pub(super) tokens: usize,
    /// Most parts that the context of one has.
    pub(super) parts: usize,
}

impl Tiles {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.range.len() / TILE
    }
}

impl Plan {
    pub(super) fn new(batch: &Batch<'_>, shape: &KvShape, cut: Cut) -> Self {
        let mut numbers = Vec::new();
        let tokens = append(&mut numbers, |numbers| {
            let tokens = batch.spans().iter().flat_map(|span| span.tokens);
            numbers.extend(tokens.map(|token| token.cast_signed()));
        });
        let positions = append(&mut numbers, |numbers| {
            numbers.extend(batch.spans().iter().flat_map(positions_of).map(int));
        });
        let slots = append(&mut numbers, |numbers| {
            numbers.extend(batch.spans().iter().flat_map(|span| {
                positions_of(span).map(|position| {
                    let block = span.blocks[position / shape.block_size].index();
                    int(block * shape.block_size + position % shape.block_size)
                })
            }));
        });
        let wanted = append(&mut numbers, |numbers| {
            numbers.extend(batch.spans().iter().flat_map(Span::wanted_rows).map(int));
        });
        let mut starts = Vec::new();
        let tables = append(&mut numbers, |numbers| {
            let start = numbers.len();
            for span in batch.spans() {
                starts.push(numbers.len() - start);
                numbers.extend(span.blocks.iter().map(|block| int(block.index())));
            }
        });
        let most = (cut.rows() / cut.group).max(1);
        let ones = tiles(&mut numbers, (batch, &starts), cut, None);
        let several = tiles(&mut numbers, (batch, &starts), cut, Some(most));
        Self {
            rows: batch.rows(),
            numbers,
            tokens,
            positions,
            slots,
            wanted,
            tables,
            ones,
            several,
        }
    }
}

/// Appends the tiles of spans of one token, or of longer ones with up to `most` tokens in a tile.
fn tiles(
    numbers: &mut Vec<i32>,
    (batch, tables): (&Batch<'_>, &[usize]),
    cut: Cut,
    most: Option<usize>,
) -> Tiles {
    let several = most.is_some();
    let most = most.unwrap_or(1);
    let mut parts = 1;
    let range = append(numbers, |numbers| {
        for (span, &table) in batch.spans().iter().zip(tables) {
            let length = span.tokens.len();
            if (length > 1) != several {
                continue;
            }
            for first in (0..length).step_by(most) {
                let tile = [
                    span.row + first,
                    span.start + first,
                    most.min(length - first),
                    table,
                ];
                numbers.extend(tile.map(int));
            }
            parts = parts.max((span.start + length - 1) / cut.part() + 1);
        }
    });
    Tiles {
        range,
        tokens: most,
        parts,
    }
}

fn positions_of(span: &Span<'_>) -> Range<usize> {
    span.start..span.start + span.tokens.len()
}

/// The place of what `write` appends.
fn append(numbers: &mut Vec<i32>, write: impl FnOnce(&mut Vec<i32>)) -> Range<usize> {
    let start = numbers.len();
    write(numbers);
    start..numbers.len()
}

/// Tokens, positions and rows are far from the end of whole numbers.
///
/// # Panics
/// If one is not.
pub(super) fn int(number: usize) -> i32 {
    i32::try_from(number).expect("sizes of a batch fit in 32 bits")
}

#[cfg(test)]
mod tests {
    use tandem_kv_cache::BlockPool;

    use super::*;

    #[test]
    fn tiles_cover_every_row_once() {
        let shape = KvShape {
            layers: 1,
            kv_heads: 1,
            head_dim: 64,
            block_size: 16,
        };
        let cut = Cut {
            wide: false,
            group: 8,
            many_heads: false,
        };
        let blocks = BlockPool::new(40).allocate(40).unwrap();
        let tokens: Vec<u32> = (0..30).collect();
        let mut batch = Batch::default();
        for (start, count, wanted) in [(130, 1, 1), (5, 11, 0), (0, 9, 2)] {
            batch.push(Span {
                tokens: &tokens[..count],
                start,
                row: 0,
                adapter: None,
                blocks: &blocks[..10],
                wanted,
            });
        }
        let plan = Plan::new(&batch, &shape, cut);
        let of = |range: &Range<usize>| plan.numbers[range.clone()].to_vec();
        assert_eq!((plan.rows, plan.ones.parts, plan.several.parts), (21, 2, 1));
        assert_eq!(of(&plan.ones.range), [0, 130, 1, 0]);
        let several = [
            [1, 5, 4, 10],
            [5, 9, 4, 10],
            [9, 13, 3, 10],
            [12, 0, 4, 20],
            [16, 4, 4, 20],
            [20, 8, 1, 20],
        ];
        assert_eq!(of(&plan.several.range), several.as_flattened());
        assert_eq!(of(&plan.wanted), [0, 19, 20]);
        assert_eq!(of(&plan.positions)[..3], [130, 5, 6]);
        let eighth = int(blocks[8].index());
        assert_eq!(of(&plan.slots)[0], eighth * 16 + 2);
        assert_eq!(of(&plan.tables).len(), 30);
    }
}
