//! Identities. Each is a place in the plan that gave it out; a later plan keeps those of what stays.

use super::by_id::Id;

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

        impl Id for $name {
            #[inline]
            fn index(self) -> usize {
                self.0 as usize
            }

            fn from_index(index: usize) -> $name {
                $name(index as $inner)
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
    LaneId(u16)
);
id!(
    /// A Modbus unit identifier, 0–255.
    UnitId(u8)
);
