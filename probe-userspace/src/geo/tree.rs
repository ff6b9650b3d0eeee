//! The search tree of a MaxMind DB file, walked in the order of addresses.
//!
//! The walk is our own because the reader's iterator is bounded by depth only: in a damaged file, nodes that
//! share children make it visit up to 2^128 places. Records are still resolved and decoded by the reader.
//! Format: <https://maxmind.github.io/MaxMind-DB/>.

use super::address::Address;

/// Leaves per node that a walk visits before it gives up. A tree of `n` nodes has `n + 1` leaves; a writer that
/// shares equal subtrees has somewhat more.
const MAX_LEAVES_PER_NODE: usize = 3;

/// The search tree: the start of the file.
pub(super) struct Tree<'a> {
    nodes: &'a [u8],
    n_nodes: u32,
    record_bits: u16,
    is_v6: bool,
}

/// What an address range of the tree leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Nothing is known about it.
    NoData,
    /// A record, by the value that points to it.
    Record(u32),
}

/// The tree contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TreeError {
    /// The nodes go on past the end of the file.
    Truncated,
    /// A branch is longer than an address, or there are far more leaves than nodes.
    Tangled,
}

impl<'a> Tree<'a> {
    /// The tree of a file with this metadata.
    pub(super) fn new(bytes: &'a [u8], metadata: &maxminddb::Metadata) -> Result<Self, TreeError> {
        let n_bytes = u64::from(metadata.node_count) * u64::from(metadata.record_size) / 4;
        let nodes = usize::try_from(n_bytes)
            .ok()
            .and_then(|n_bytes| bytes.get(..n_bytes))
            .ok_or(TreeError::Truncated)?;
        Ok(Self {
            nodes,
            n_nodes: metadata.node_count,
            record_bits: metadata.record_size,
            is_v6: metadata.ip_version == 6,
        })
    }

    /// Calls `visit` with (first address, prefix length, leaf) for the whole IPv4 space. A file for both families
    /// keeps it under `::/96`.
    pub(super) fn walk_v4<E: From<TreeError>>(
        &self,
        visit: impl FnMut(u32, u8, Leaf) -> Result<(), E>,
    ) -> Result<(), E> {
        match (self.is_v6, self.v4_start()) {
            (false, _) => self.walk(0, None, visit),
            (true, Some(start)) => self.walk(start, None, visit),
            (true, None) => Ok(()),
        }
    }

    /// Calls `visit` for the whole IPv6 space but what leads into the IPv4 part: `::/96` itself and its aliases
    /// (`::ffff:0:0/96`, `2002::/16`, ..), which stand for IPv4 addresses.
    pub(super) fn walk_v6<E: From<TreeError>>(
        &self,
        visit: impl FnMut(u128, u8, Leaf) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_v6 {
            self.walk(0, self.v4_start(), visit)
        } else {
            Ok(())
        }
    }

    /// The node of `::/96`, if there is one.
    fn v4_start(&self) -> Option<u32> {
        (0..96).try_fold(0, |node, _| {
            Some(self.child(node, 0)).filter(|child| *child < self.n_nodes)
        })
    }

    fn walk<A: Address, E: From<TreeError>>(
        &self,
        start: u32,
        skipped: Option<u32>,
        mut visit: impl FnMut(A, u8, Leaf) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut n_leaves_left = (self.n_nodes as usize + 1).saturating_mul(MAX_LEAVES_PER_NODE);
        let mut todo = vec![(start, A::FIRST, 0u8)];
        while let Some((value, addr, prefix_len)) = todo.pop() {
            if value < self.n_nodes && Some(value) != skipped {
                if prefix_len == A::BITS {
                    return Err(TreeError::Tangled.into());
                }
                todo.push((self.child(value, 1), addr.with_bit(prefix_len), prefix_len + 1));
                todo.push((self.child(value, 0), addr, prefix_len + 1));
                continue;
            }
            n_leaves_left = n_leaves_left.checked_sub(1).ok_or(TreeError::Tangled)?;
            let leaf = if value > self.n_nodes {
                Leaf::Record(value)
            } else {
                Leaf::NoData
            };
            visit(addr, prefix_len, leaf)?;
        }
        Ok(())
    }

    /// The left (0) or right (1) value of a node; below `n_nodes` it is a node, equal to it "no data", above it
    /// a record.
    fn child(&self, node: u32, side: usize) -> u32 {
        let node_bytes = usize::from(self.record_bits) / 4;
        let at = &self.nodes[node as usize * node_bytes..][..node_bytes];
        match (self.record_bits, side) {
            (24, 0) => u32::from_be_bytes([0, at[0], at[1], at[2]]),
            (24, _) => u32::from_be_bytes([0, at[3], at[4], at[5]]),
            (28, 0) => u32::from_be_bytes([at[3] >> 4, at[0], at[1], at[2]]),
            (28, _) => u32::from_be_bytes([at[3] & 0x0f, at[4], at[5], at[6]]),
            (_, 0) => u32::from_be_bytes([at[0], at[1], at[2], at[3]]),
            (_, _) => u32::from_be_bytes([at[4], at[5], at[6], at[7]]),
        }
    }
}
