//! The bytes of LMDB's pages (mdb.c, `MDB_page`, `MDB_node`, `MDB_meta`), as they are in the file: in the byte order and
//! with the word of this machine. Nothing of it is trusted: every place is looked up within the bytes that are there.

/// Bytes of a page number and of the other words.
pub const WORD: usize = size_of::<usize>();
/// Bytes of a page's header.
pub const PAGE_HEADER: usize = WORD + 8;
/// Bytes of a node's header.
const NODE_HEADER: usize = 8;
/// Bytes of a tree's record, in a meta page or in the main tree.
pub const TREE_BYTES: usize = 8 + 5 * WORD;
/// From a page's start to the end of its meta data.
pub const META_BYTES: usize = PAGE_HEADER + 8 + 2 * WORD + 2 * TREE_BYTES + 2 * WORD;
/// A tree without pages.
pub const NO_PAGE: u64 = usize::MAX as u64;

pub const BRANCH: u16 = 0x01;
pub const LEAF: u16 = 0x02;
pub const OVERFLOW: u16 = 0x04;
const META: u16 = 0x08;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;

/// The data of a node lies in overflow pages.
pub const BIG_DATA: u16 = 0x01;
/// The data of a node is a tree.
pub const SUB_DATA: u16 = 0x02;
/// Keys of a tree are words of this machine, not bytes.
pub const INTEGER_KEY: u16 = 0x08;

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(usize::from_ne_bytes(bytes.get(at..at + WORD)?.try_into().ok()?) as u64)
}

/// What a file says of one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    pub flags: u16,
    pub depth: u16,
    pub branch_pages: u64,
    pub leaf_pages: u64,
    pub overflow_pages: u64,
    pub entries: u64,
    pub root: u64,
}

impl Tree {
    pub fn read(bytes: &[u8]) -> Option<Tree> {
        let word = |n: usize| word_at(bytes, 8 + n * WORD);
        Some(Tree {
            flags: u16_at(bytes, 4)?,
            depth: u16_at(bytes, 6)?,
            branch_pages: word(0)?,
            leaf_pages: word(1)?,
            overflow_pages: word(2)?,
            entries: word(3)?,
            root: word(4)?,
        })
    }
}

/// A meta page: where one commit's trees begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub page_bytes: u32,
    pub free: Tree,
    pub main: Tree,
    pub last_page: u64,
    pub transaction: u64,
}

/// Whether a page begins as a meta page of this version of LMDB.
pub fn is_meta(page: &[u8]) -> bool {
    u16_at(page, WORD + 2).is_some_and(|flags| flags & META != 0)
        && u32_at(page, PAGE_HEADER) == Some(MAGIC)
        && u32_at(page, PAGE_HEADER + 4) == Some(VERSION)
}

impl Meta {
    /// `None`: it is no meta page, or of another version of LMDB.
    pub fn read(page: &[u8]) -> Option<Meta> {
        let bytes = page.get(PAGE_HEADER..META_BYTES)?;
        is_meta(page).then_some(())?;
        let trees = 8 + 2 * WORD;
        Some(Meta {
            page_bytes: u32_at(bytes, trees)?,
            free: Tree::read(bytes.get(trees..)?)?,
            main: Tree::read(bytes.get(trees + TREE_BYTES..)?)?,
            last_page: word_at(bytes, trees + 2 * TREE_BYTES)?,
            transaction: word_at(bytes, trees + 2 * TREE_BYTES + WORD)?,
        })
    }
}

/// The header of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub number: u64,
    pub flags: u16,
    /// Of an overflow page: how many pages it takes.
    pub overflow_pages: u32,
}

impl Head {
    pub fn read(page: &[u8]) -> Option<Head> {
        Some(Head {
            number: word_at(page, 0)?,
            flags: u16_at(page, WORD + 2)?,
            overflow_pages: u32_at(page, WORD + 4)?,
        })
    }
}

/// Pages that data of so many bytes takes with the header.
pub fn overflow_pages(bytes: usize, page_bytes: usize) -> u64 {
    ((PAGE_HEADER + bytes).div_ceil(page_bytes).max(1)) as u64
}

/// A branch or a leaf whose header and whose nodes' places were checked.
#[derive(Debug, Clone, Copy)]
pub struct NodePage<'a> {
    bytes: &'a [u8],
    nodes: usize,
    is_leaf: bool,
}

/// An entry of a leaf.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    pub flags: u16,
    pub data: Data<'a>,
}

/// Where an entry's data is.
#[derive(Debug, Clone, Copy)]
pub enum Data<'a> {
    Here(&'a [u8]),
    /// In overflow pages from this one on, so many bytes.
    Overflow(u64, usize),
}

impl<'a> NodePage<'a> {
    /// # Errors
    /// What is wrong with the page, which should have this number.
    pub fn read(bytes: &'a [u8], number: u64) -> Result<NodePage<'a>, &'static str> {
        const SHORT: &str = "is shorter than a page";
        let head = Head::read(bytes).ok_or(SHORT)?;
        if head.number != number {
            return Err("carries another page's number");
        }
        let is_leaf = match head.flags {
            LEAF => true,
            BRANCH => false,
            _ => return Err("has flags that neither a branch nor a leaf has"),
        };
        let lower = usize::from(u16_at(bytes, WORD + 4).ok_or(SHORT)?);
        let upper = usize::from(u16_at(bytes, WORD + 6).ok_or(SHORT)?);
        if lower < PAGE_HEADER || lower > upper || upper > bytes.len() || !(lower - PAGE_HEADER).is_multiple_of(2) {
            return Err("has bounds of its free space that are impossible");
        }
        let page = NodePage { bytes, nodes: (lower - PAGE_HEADER) / 2, is_leaf };
        for at in 0..page.nodes {
            let place = page.place(at);
            if place < upper || !place.is_multiple_of(2) || page.end_of(place).is_none_or(|end| end > bytes.len()) {
                return Err("has an entry that does not lie within it");
            }
        }
        Ok(page)
    }

    pub fn len(&self) -> usize {
        self.nodes
    }

    pub fn is_leaf(&self) -> bool {
        self.is_leaf
    }

    fn place(&self, at: usize) -> usize {
        u16_at(self.bytes, PAGE_HEADER + 2 * at).map_or(0, usize::from)
    }

    fn end_of(&self, place: usize) -> Option<usize> {
        let key = usize::from(u16_at(self.bytes, place + 6)?);
        let data = match self.is_leaf {
            false => 0,
            true if u16_at(self.bytes, place + 4)? & BIG_DATA != 0 => WORD,
            true => self.size_at(place)?,
        };
        (place + NODE_HEADER + key).checked_add(data)
    }

    /// Of a leaf's node: bytes of its data.
    fn size_at(&self, place: usize) -> Option<usize> {
        let (first, second) = (u16_at(self.bytes, place)?, u16_at(self.bytes, place + 2)?);
        let (low, high) = if cfg!(target_endian = "little") { (first, second) } else { (second, first) };
        Some(usize::from(low) | usize::from(high) << 16)
    }

    pub fn key(&self, at: usize) -> &'a [u8] {
        let place = self.place(at);
        let len = u16_at(self.bytes, place + 6).map_or(0, usize::from);
        self.bytes.get(place + NODE_HEADER..place + NODE_HEADER + len).unwrap_or_default()
    }

    /// The page below a branch's node.
    pub fn child(&self, at: usize) -> u64 {
        let place = self.place(at);
        let low = self.size_at(place).unwrap_or(0) as u64;
        let high = if WORD > 4 { u16_at(self.bytes, place + 4).map_or(0, u64::from) } else { 0 };
        low | high << 32
    }

    /// An entry of a leaf.
    pub fn entry(&self, at: usize) -> Option<Entry<'a>> {
        let place = self.place(at);
        let key = self.key(at);
        let flags = u16_at(self.bytes, place + 4)?;
        let (size, start) = (self.size_at(place)?, place + NODE_HEADER + key.len());
        let data = if flags & BIG_DATA != 0 {
            Data::Overflow(word_at(self.bytes, start)?, size)
        } else {
            Data::Here(self.bytes.get(start..start + size)?)
        };
        Some(Entry { key, flags, data })
    }
}

/// The first pages of a file: one for each of the last two commits.
pub const META_PAGES: usize = 2;

/// Makes zeroes a leaf without entries: LMDB finds nothing in it. Allocates nothing.
pub fn fill_empty_leaf(page: &mut [u8]) {
    let words = [(WORD + 2, LEAF), (WORD + 4, PAGE_HEADER as u16), (WORD + 6, PAGE_HEADER as u16)];
    for (at, word) in words {
        if let Some(place) = page.get_mut(at..at + 2) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
    }
}

/// Makes zeroes a meta page whose trees are empty and beyond which there is no page. Allocates nothing.
pub fn fill_empty_meta(page: &mut [u8]) {
    let trees = PAGE_HEADER + 8 + 2 * WORD;
    for tree in [trees, trees + TREE_BYTES] {
        let root = tree + TREE_BYTES - WORD;
        if let Some(place) = page.get_mut(root..root + WORD) {
            place.fill(0xff);
        }
    }
    let last = trees + 2 * TREE_BYTES;
    if let Some(place) = page.get_mut(last..last + WORD) {
        place.copy_from_slice(&1usize.to_ne_bytes());
    }
}
