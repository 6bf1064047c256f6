//! A query resolved against a table: which cells, in which order, how many bytes. The same for asker and provider.

use crate::{
    answer::reply_class,
    catalogue::{Axis, Table},
    cell::{CELL_LEN, NotACell, Released},
    request::{CODES_MAX, DimQuery, Query},
    time::Period,
};

/// A query that is on the grid of its table, for one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Level of each dimension.
    pub levels: Vec<u8>,
    /// Code numbers along each dimension, ascending.
    pub codes: Vec<Vec<u32>>,
    /// Names of those codes.
    pub names: Vec<Vec<String>>,
    /// Indexes of the measures asked for, ascending.
    pub measures: Vec<usize>,
    /// Numbers of each cell: one for most measures, more for means and histograms.
    pub width: usize,
    /// Size class of every reply.
    pub reply_class: u8,
}

/// Why a query is off the grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OffGrid {
    /// Another version of the table.
    #[error("the query is not made for this version of the table")]
    Layout,
    /// More or fewer dimensions than the table has.
    #[error("the query does not name each dimension of the table")]
    Dimensions,
    /// No such combination of levels.
    #[error("the table has no such combination of levels")]
    Levels,
    /// No measure, or one that does not exist at these levels.
    #[error("a measure does not exist at these levels")]
    Measures,
    /// A code that does not stand on the level.
    #[error("a code does not stand on its level")]
    Code,
    /// Time without codes: every year there is.
    #[error("time needs its periods named")]
    Time,
    /// Larger than the largest reply.
    #[error("more cells than one reply holds")]
    Size,
}

impl Selection {
    /// Resolves a query for a provider in `country`.
    pub fn new(query: &Query, table: &Table, country: &str) -> Result<Self, OffGrid> {
        let axes = table.axes(country).map_err(|_| OffGrid::Layout)?;
        let dims = query.dims.as_slice();
        if query.table_id != table.id || query.table_version != table.version {
            return Err(OffGrid::Layout);
        }
        if dims.len() != axes.len() {
            return Err(OffGrid::Dimensions);
        }
        let levels: Vec<u8> = dims.iter().map(|dim| dim.level).collect();
        let offered = table.measures_at(&levels).ok_or(OffGrid::Levels)?;
        if query.measures == 0 || query.measures & !offered != 0 {
            return Err(OffGrid::Measures);
        }
        let mut codes = Vec::new();
        let mut names = Vec::new();
        for (dim, axis) in dims.iter().zip(&axes) {
            let numbers = numbers(dim, axis)?;
            names.push(
                numbers
                    .iter()
                    .map(|number| axis.name(dim.level, *number))
                    .collect::<Option<Vec<_>>>()
                    .ok_or(OffGrid::Code)?,
            );
            codes.push(numbers);
        }
        let measures: Vec<usize> = (0..table.measures.len()).filter(|bit| query.measures >> bit & 1 == 1).collect();
        let cells =
            codes.iter().try_fold(1usize, |product, codes| product.checked_mul(codes.len())).ok_or(OffGrid::Size)?;
        let width = table.width_of(&measures);
        let bytes = cells.checked_mul(width * CELL_LEN).ok_or(OffGrid::Size)?;
        let reply_class = reply_class(bytes).ok_or(OffGrid::Size)?;
        Ok(Self { levels, codes, names, measures, width, reply_class })
    }

    /// How many cells.
    pub fn cells(&self) -> usize {
        self.codes.iter().map(Vec::len).product()
    }

    /// How many bytes the slice has.
    pub fn slice_len(&self) -> usize {
        self.cells() * self.width * CELL_LEN
    }

    /// Code numbers of the cell at a row-major position.
    pub fn numbers_at(&self, position: usize) -> Vec<u32> {
        at(&self.codes, position).into_iter().copied().collect()
    }

    /// Code names of the cell at a row-major position.
    pub fn names_at(&self, position: usize) -> Vec<String> {
        at(&self.names, position).into_iter().cloned().collect()
    }

    /// Reads a slice: for each cell in row-major order, the numbers of its measures in ascending order.
    pub fn read(&self, slice: &[u8]) -> Result<Vec<Vec<Released>>, NotACell> {
        let (cells, rest) = slice.as_chunks::<CELL_LEN>();
        if !rest.is_empty() || slice.len() != self.slice_len() {
            return Err(NotACell);
        }
        cells
            .chunks(self.width.max(1))
            .map(|cell| cell.iter().map(|bytes| Released::from_bytes(*bytes)).collect())
            .collect()
    }
}

fn at<T>(lists: &[Vec<T>], mut position: usize) -> Vec<&T> {
    let mut found: Vec<&T> = lists
        .iter()
        .rev()
        .filter_map(|list| {
            let item = list.get(position % list.len().max(1));
            position /= list.len().max(1);
            item
        })
        .collect();
    found.reverse();
    found
}

fn numbers(dim: &DimQuery, axis: &Axis) -> Result<Vec<u32>, OffGrid> {
    if !dim.codes.as_slice().is_empty() {
        return Ok(dim.codes.as_slice().to_vec());
    }
    match axis {
        Axis::Time => Err(OffGrid::Time),
        Axis::Codes(_) => Ok(axis.numbers(dim.level, 0)),
    }
}

/// Splits periods into runs that one request may carry.
pub fn split_periods(periods: &[Period], other_bytes: usize) -> Vec<Vec<Period>> {
    // A slice must fit the largest class: that many periods at `other_bytes` bytes each.
    let fits =
        (crate::answer::CLASS_SIZES.last().copied().unwrap_or(0) - crate::answer::CLASS_OVERHEAD) / other_bytes.max(1);
    periods.chunks(fits.clamp(1, CODES_MAX)).map(<[Period]>::to_vec).collect()
}
