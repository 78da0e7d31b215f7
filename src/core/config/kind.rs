//! The configuration interface of a protocol; the rest of the reader is independent of protocols.

use std::any::Any;

use schemars::{Schema, SchemaGenerator};

use super::diagnostic::Report;
use super::fields::keys;
use super::model::{TagConfig, WriteConfig};
use super::reader::{Obj, Part, Text};
use super::text::Span;
use crate::config::LinkConfig;
use crate::config::model::{LinkSettings, TagAddress};

/// A protocol, as the tag files have it.
pub trait Protocol: Sync {
    /// Its words for `"protocol"`.
    fn words(&self) -> &'static [&'static str];

    /// The keys of a link with one of these words.
    fn link_keys(&self, word: &str) -> &'static [&'static str];

    /// Keys of tags that only its links have: messages on tags of other links do not offer them.
    fn tag_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// A tag has to say its type.
    fn needs_data_type(&self) -> bool {
        false
    }

    /// Its links for editors, each a definition of the generator's.
    fn link_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema>;

    /// The definition with its own keys of tags, by its name.
    fn tag_schema(&self, _generator: &mut SchemaGenerator) -> Option<String> {
        None
    }

    /// Words that only its tags have for a key of all: `"data_type"`, `"byte_order"`.
    fn tag_words(&self, _key: &str) -> Vec<&'static str> {
        Vec::new()
    }

    /// Reads a link; what is wrong is reported.
    fn read_link(&self, word: &str, link: &Obj<'_>) -> ReadLink;

    /// Reports what a link cannot share with those before it.
    fn check_beside(&self, _link: &Obj<'_>, _own: &dyn LinkSettings, _others: &[Link]) {}

    /// Reads what follows the link's name in a tag's address, and the keys that say what lies there. `None`: reported.
    fn read_address(
        &self,
        tag: &Obj<'_>,
        text: Text<'_>,
        parts: &[Part<'_>],
        link: &Link,
    ) -> Option<Box<dyn TagAddress>>;

    /// Reports keys of its own tags on a tag of another protocol's link.
    fn refuse_keys(&self, _tag: &Obj<'_>, _protocol: &str) {}

    /// Whether one of its tags can be written as is asked for; false: it cannot, which is reported, and nothing more is
    /// said of it.
    fn check_write(&self, _address: &dyn TagAddress, _asked: &AskedWrite<'_>) -> bool {
        true
    }

    /// Reports its own keys in the `"write"` of a tag of another protocol's link.
    fn refuse_write_keys(&self, _write: &Obj<'_>) {}

    /// Once all links and tags are read: what they have to agree on.
    fn check(&self, _tags: &[TagConfig], _links: &mut [Link], _report: &Report) {}
}

/// The protocols that tag files can name; the commonest comes first.
#[derive(Clone, Copy)]
pub struct Protocols(pub &'static [&'static dyn Protocol]);

impl Protocols {
    pub fn all(self) -> impl Iterator<Item = &'static dyn Protocol> {
        self.0.iter().copied()
    }

    /// Their words for `"protocol"`.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        self.all().flat_map(|protocol| protocol.words()).copied()
    }

    /// The protocol with a word of its own, and the word.
    pub fn find(self, text: &str) -> Option<(&'static dyn Protocol, &'static str)> {
        self.all().find_map(|protocol| Some((protocol, *protocol.words().iter().find(|word| **word == text)?)))
    }

    /// By which a link is judged that does not say its protocol.
    pub fn commonest(self) -> Option<(&'static dyn Protocol, &'static str)> {
        let first = self.all().next()?;
        Some((first, *first.words().first()?))
    }

    /// All but one.
    pub fn others(self, than: &dyn Protocol) -> impl Iterator<Item = &'static dyn Protocol> {
        let own = than.words();
        self.all().filter(move |protocol| protocol.words() != own)
    }

    /// All keys that tags may have: those of every link, and each protocol's own.
    pub fn tag_keys(self) -> Vec<&'static str> {
        keys::TAG.iter().chain(self.all().flat_map(|protocol| protocol.tag_keys())).copied().collect()
    }
}

/// A link, and what its tags need to know to be read.
pub struct Link {
    pub config: LinkConfig,
    /// `None`: it could not be read, so nothing is known about its tags' addresses.
    pub protocol: Option<&'static dyn Protocol>,
    /// What its protocol has to know of it to read them.
    pub notes: Box<dyn Any>,
    pub used: bool,
}

impl Link {
    /// The notes of its protocol.
    pub fn notes<T: Any>(&self) -> Option<&T> {
        self.notes.downcast_ref()
    }
}

/// A link that was read.
pub struct ReadLink {
    pub settings: Box<dyn LinkSettings>,
    /// What the protocol has to know to read the addresses of its tags.
    pub notes: Box<dyn Any>,
}

impl ReadLink {
    pub fn new(settings: impl LinkSettings, notes: impl Any) -> ReadLink {
        ReadLink { settings: Box::new(settings), notes: Box::new(notes) }
    }
}

/// What is asked for by a tag's `"write"`.
pub struct AskedWrite<'a> {
    pub tag: &'a Obj<'a>,
    pub at: Span,
    /// Its keys, if it is an object.
    pub write: Option<&'a Obj<'a>>,
    pub limits: &'a WriteConfig,
    pub link: &'a dyn LinkSettings,
}
