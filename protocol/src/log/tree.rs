//! The Merkle tree of RFC 9162 section 2.1: roots, inclusion proofs, consistency proofs, made and verified.

use ring::digest::{Context, SHA256};

use crate::id::Hash;

/// Hashes in one proof, at most: a tree of 2^63 entries has no more.
pub const PATH_MAX: usize = 63;

fn hash(prefix: u8, parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[prefix]);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Hash(out)
}

/// Hash of a leaf: SHA-256(0x00 || entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    hash(0, &[entry])
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(1, &[&left.0, &right.0])
}

/// Root of the tree without leaves.
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// Where hashes of whole subtrees come from.
pub trait Nodes {
    /// Why one cannot be had.
    type Error;

    /// The hash over the leaves `index << level .. (index + 1) << level`. Asked only for subtrees that lie within the tree.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// A tree that only grows, by the roots of its whole subtrees: all that appending and its own root need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // One for each bit of the size, the largest subtree first.
    roots: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree of `size` leaves.
    ///
    /// # Errors
    /// What the source says.
    pub fn of<N: Nodes>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let mut roots = Vec::new();
        let mut start = 0;
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            roots.push(nodes.node(level, start >> level)?);
            start += 1 << level;
        }
        Ok(Self { size, roots })
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each subtree of the same height that stands at the end is joined with what comes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return empty_root() };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The root over all leaves of some bytes' hashes.
pub fn root_of(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::default();
    leaves.into_iter().for_each(|leaf| frontier.push(leaf));
    frontier.root()
}

/// Leaf hashes in memory as a source.
#[derive(Debug, Clone, Copy)]
pub struct InMemory<'a>(pub &'a [Hash]);

impl Nodes for InMemory<'_> {
    type Error = std::convert::Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error> {
        let start = usize::try_from(index << level).unwrap_or(usize::MAX);
        let end = usize::try_from((index + 1) << level).unwrap_or(usize::MAX);
        Ok(root_of(self.0.get(start..end).unwrap_or_default().iter().copied()))
    }
}

// Largest power of two below `n`, which is at least 2.
const fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

// The hash over `start..end`, where every split leaves whole subtrees to the left.
fn range<N: Nodes>(nodes: &N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let mut lefts = Vec::new();
    let mut start = start;
    loop {
        let count = end.saturating_sub(start);
        if count.is_power_of_two() {
            let last = nodes.node(count.trailing_zeros(), start / count)?;
            return Ok(lefts.iter().rev().fold(last, |right, left| node_hash(left, &right)));
        }
        if count == 0 {
            return Ok(empty_root());
        }
        let left = split(count);
        lefts.push(nodes.node(left.trailing_zeros(), start / left)?);
        start += left;
    }
}

/// The root of the first `size` leaves.
///
/// # Errors
/// What the source says.
pub fn root_at<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    range(nodes, 0, size)
}

/// Inclusion proof of leaf `index` in the tree of the first `size` leaves (RFC 9162 section 2.1.3.1), from the leaf's sibling upwards;
/// nothing if there is no such leaf.
///
/// # Errors
/// What the source says.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Option<Vec<Hash>>, N::Error> {
    if index >= size {
        return Ok(None);
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// Consistency proof between the trees of the first `old` and the first `new` leaves (RFC 9162 section 2.1.4.1); nothing if `old` is 0
/// or above `new`. Empty for equal sizes.
///
/// # Errors
/// What the source says.
pub fn consistency<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Option<Vec<Hash>>, N::Error> {
    if old == 0 || old > new {
        return Ok(None);
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    // Whether what is left of the old tree is a whole subtree of the new one that begins at 0: then the verifier knows its hash.
    let mut is_known = true;
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range(nodes, start, middle)?);
            start = middle;
            is_known = false;
        }
    }
    if !is_known {
        path.push(range(nodes, start, end)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// Whether a path proves that a leaf stands at `index` in the tree of `size` leaves with this root (RFC 9162 section 2.1.3.2).
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size || path.len() > PATH_MAX {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether a path proves that the tree of `new` leaves begins with the whole tree of `old` leaves (RFC 9162 section 2.1.4.2). Every tree
/// begins with the empty one, by an empty path.
#[must_use]
pub fn verify_consistency((old, old_root): (u64, &Hash), (new, new_root): (u64, &Hash), path: &[Hash]) -> bool {
    if old > new || path.len() > PATH_MAX {
        return false;
    }
    if old == 0 {
        return path.is_empty() && *old_root == empty_root();
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    let mut path = path.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut of_old, mut of_new) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            of_old = node_hash(sibling, &of_old);
            of_new = node_hash(sibling, &of_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(&of_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{from_hex, to_hex};

    /// Leaves and roots of the reference tree of RFC 6962 implementations.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    fn infallible<T>(result: Result<T, std::convert::Infallible>) -> T {
        result.unwrap_or_else(|never| match never {})
    }

    #[test]
    fn roots_are_those_of_the_reference_tree() {
        let hashes: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(&from_hex(leaf).unwrap())).collect();
        for (size, root) in ROOTS.iter().enumerate() {
            assert_eq!(to_hex(&root_of(hashes[..size].iter().copied()).0), *root, "size {size}");
            let at = infallible(root_at(&InMemory(&hashes), size as u64));
            assert_eq!(to_hex(&at.0), *root, "size {size}, from subtrees");
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proven_and_nothing_else_is() {
        let all = leaves(40);
        for size in 1..=40u64 {
            let root = root_of(all[..usize::try_from(size).unwrap()].iter().copied());
            for index in 0..size {
                let path = infallible(inclusion(&InMemory(&all), index, size)).unwrap();
                let leaf = &all[usize::try_from(index).unwrap()];
                assert!(verify_inclusion(leaf, index, size, &path, &root), "{index} of {size}");
                for wrong in (0..=size + 1).filter(|wrong| *wrong != index) {
                    assert!(!verify_inclusion(leaf, wrong, size, &path, &root), "{index} as {wrong} of {size}");
                }
                for part in 0..path.len() {
                    let mut bad = path.clone();
                    bad[part].0[0] ^= 1;
                    assert!(!verify_inclusion(leaf, index, size, &bad, &root));
                    assert!(!verify_inclusion(leaf, index, size, &path[..part], &root));
                }
                let longer: Vec<Hash> = path.iter().copied().chain([root]).collect();
                assert!(!verify_inclusion(leaf, index, size, &longer, &root));
            }
            assert_eq!(infallible(inclusion(&InMemory(&all), size, size)), None);
        }
    }

    #[test]
    fn every_small_tree_is_proven_to_begin_with_every_smaller_one() {
        let all = leaves(34);
        let root = |size: u64| root_of(all[..usize::try_from(size).unwrap()].iter().copied());
        for new in 0..=34u64 {
            for old in 1..=new {
                let path = infallible(consistency(&InMemory(&all), old, new)).unwrap();
                assert!(verify_consistency((old, &root(old)), (new, &root(new)), &path), "{old} in {new}");
                let other = leaf_hash(b"another");
                assert!(!verify_consistency((old, &other), (new, &root(new)), &path), "{old} in {new}");
                assert!(!verify_consistency((old, &root(old)), (new, &other), &path), "{old} in {new}");
                for part in 0..path.len() {
                    let mut bad = path.clone();
                    bad[part].0[31] ^= 1;
                    assert!(!verify_consistency((old, &root(old)), (new, &root(new)), &bad));
                    assert!(!verify_consistency((old, &root(old)), (new, &root(new)), &path[..part]));
                }
                let longer: Vec<Hash> = path.iter().copied().chain([other]).collect();
                assert!(!verify_consistency((old, &root(old)), (new, &root(new)), &longer));
            }
            assert!(verify_consistency((0, &empty_root()), (new, &root(new)), &[]));
            assert_eq!(infallible(consistency(&InMemory(&all), 0, new)), None);
            assert_eq!(infallible(consistency(&InMemory(&all), new + 1, new)), None);
        }
    }

    proptest! {
        #[test]
        fn a_frontier_is_the_same_whether_it_grew_or_was_read(size in 0u64..600, more in 0u64..80) {
            let all = leaves(size + more);
            let mut frontier = infallible(Frontier::of(&InMemory(&all), size));
            for leaf in &all[usize::try_from(size).unwrap()..] {
                frontier.push(*leaf);
            }
            prop_assert_eq!(frontier.size(), size + more);
            prop_assert_eq!(frontier.root(), root_of(all.iter().copied()));
            prop_assert_eq!(&frontier, &infallible(Frontier::of(&InMemory(&all), size + more)));
        }

        #[test]
        fn a_tree_that_was_changed_does_not_follow(old in 1u64..200, more in 1u64..200, changed in 0u64..200) {
            let changed = changed % old;
            let (all, size) = (leaves(old + more), old + more);
            let before = root_of(all[..usize::try_from(old).unwrap()].iter().copied());
            let mut rebuilt = all;
            rebuilt[usize::try_from(changed).unwrap()] = leaf_hash(b"rewritten");
            let path = infallible(consistency(&InMemory(&rebuilt), old, size)).unwrap();
            let root = root_of(rebuilt.iter().copied());
            prop_assert!(!verify_consistency((old, &before), (size, &root), &path));
        }
    }
}
