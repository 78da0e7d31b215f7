//! Identities. Each is an index into the plan that gave it out, and means nothing without that plan's names.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The place in the plan's table.
            #[inline]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A tag: index into the plan's tags.
    TagId(u32)
);
id!(
    /// A link (socket, serial port): index into the plan's links.
    LinkId(u16)
);
id!(
    /// A scan group: index into the plan's groups.
    GroupId(u16)
);
id!(
    /// An executor: index into the plan's executors.
    ExecutorId(u16)
);
id!(
    /// A Modbus unit identifier, 0–255.
    UnitId(u8)
);
