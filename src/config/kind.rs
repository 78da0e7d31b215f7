//! What a protocol answers for its links and tags in the files; all else that reads them knows no protocol.

use std::any::Any;
use std::fmt::Debug;

use schemars::{Schema, SchemaGenerator};

use super::decoding::Raw;
use super::diagnostic::Report;
use super::fields::keys;
use super::links::{Link, Links};
use super::model::{TagConfig, WriteConfig};
use super::reader::{Obj, Text};
use super::tags::Part;
use super::text::Span;
use crate::tag::{Nanos, ScalarType, Scaling, Texts, ValueType, kept};

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

    /// Reports its own keys in the `"write"` of such a tag.
    fn refuse_write_keys(&self, _write: &Obj<'_>) {}

    /// Once all links and tags are read: what they have to agree on.
    fn check(&self, _tags: &[TagConfig], _links: &mut Links, _report: &Report) {}
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

/// The settings of a link.
pub trait LinkSettings: Any + Debug + Send + Sync + KeptSettings {
    /// Its protocol, as it is written in the tag files.
    fn protocol(&self) -> &'static str;

    /// How long a look at its tags waits for the connection and the answers, beside what its scans take.
    fn patience(&self) -> Nanos;
}
kept!(LinkSettings, KeptSettings);

/// Where a tag lies, and what lies there.
pub trait TagAddress: Any + Debug + Send + Sync + KeptAddress {
    /// The type of what lies there, before it is scaled.
    fn value_type(&self) -> ValueType;

    /// The unit behind the link that holds it, where there are such.
    fn unit(&self) -> Option<u8> {
        None
    }

    /// What makes the value of the raw one: the tag's own scale and offset, on top of what the address knows.
    fn scaling(&self, scale: f64, offset: f64) -> Scaling {
        Scaling::new(scale, offset)
    }

    /// The engineering unit of a file that names it.
    fn unit_of_file(&self) -> Option<&str> {
        None
    }

    /// What its values are called in that file; `ty` and `scaling` are the tag's.
    fn texts_of_file(&self, _ty: ScalarType, _scaling: Scaling) -> Texts {
        Texts::default()
    }

    /// Why no transmitter can be behind it, beside its type: what it is, and what to do.
    fn no_transmitter(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// What raw values a transmitter's signal can have there, and in what; `None`: nobody can say.
    fn signal_range(&self) -> Option<(String, f64, f64)> {
        None
    }

    /// Which raw values there are that may say that there is none; `None`: it has a value always.
    fn raw(&self) -> Option<Raw> {
        None
    }

    /// Why what is not a number cannot be a value there: the message, and what to do.
    fn no_nan(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Whether another tag can be its power of ten: what is wrong with that, if anything, and what to do.
    ///
    /// # Errors
    /// It cannot.
    fn takes_scale_from(&self) -> Result<(), (String, &'static str)> {
        Err(("scale_from on a link that is not Modbus".to_owned(), "remove it: only Modbus has registers"))
    }

    /// The numbers that the device can hold there, before they are scaled; `None`: text, or any number.
    fn raw_range(&self) -> Option<(f64, f64)> {
        Some(match scalar(self.value_type())? {
            ScalarType::Int16 => (i16::MIN.into(), i16::MAX.into()),
            ScalarType::Uint16 => (0.0, u16::MAX.into()),
            ScalarType::Int32 => (i32::MIN.into(), i32::MAX.into()),
            ScalarType::Uint32 => (0.0, u32::MAX.into()),
            ScalarType::Int64 => (i64::MIN as f64, i64::MAX as f64),
            ScalarType::Uint64 => (0.0, u64::MAX as f64),
            ScalarType::Float32 => (f32::MIN.into(), f32::MAX.into()),
            ScalarType::Float64 | ScalarType::Bool => return None,
        })
    }

    /// Whether it can be written as is asked for; false: it cannot, and nothing more is said of it.
    fn check_write(&self, _asked: &AskedWrite<'_>) -> bool {
        true
    }
}
kept!(TagAddress, KeptAddress);

/// What is asked for by a tag's `"write"`.
pub struct AskedWrite<'a> {
    pub tag: &'a Obj<'a>,
    pub at: Span,
    /// Its keys, if it is an object.
    pub write: Option<&'a Obj<'a>>,
    pub limits: &'a WriteConfig,
    pub link: &'a dyn LinkSettings,
}

/// The type of one element; `None`: text.
pub fn scalar(ty: ValueType) -> Option<ScalarType> {
    match ty {
        ValueType::Scalar(ty) | ValueType::Array { of: ty, .. } => Some(ty),
        ValueType::Text { .. } => None,
    }
}
