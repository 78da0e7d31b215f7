//! Values behind a trait that are still copied and compared as what they are.

/// For a trait of values of several types (with `Any` and `$kept` among its supertraits): access to one of the types by its
/// name, copies, equality.
#[macro_export]
macro_rules! kept {
    ($value:ident, $kept:ident) => {
        /// Every type that can be copied and compared has it.
        pub trait $kept {
            fn equals(&self, other: &dyn $value) -> bool;
            fn boxed(&self) -> Box<dyn $value>;
        }

        impl<T: $value + Clone + PartialEq> $kept for T {
            fn equals(&self, other: &dyn $value) -> bool {
                other.get::<T>().is_some_and(|other| self == other)
            }

            fn boxed(&self) -> Box<dyn $value> {
                Box::new(self.clone())
            }
        }

        impl dyn $value {
            /// As one of the types; `None`: it is another.
            pub fn get<T: $value>(&self) -> Option<&T> {
                (self as &dyn std::any::Any).downcast_ref()
            }

            /// Likewise, to be changed.
            pub fn get_mut<T: $value>(&mut self) -> Option<&mut T> {
                (self as &mut dyn std::any::Any).downcast_mut()
            }

            /// Whether it is of one of the types.
            pub fn is<T: $value>(&self) -> bool {
                self.get::<T>().is_some()
            }
        }

        impl Clone for Box<dyn $value> {
            fn clone(&self) -> Box<dyn $value> {
                self.as_ref().boxed()
            }
        }

        impl PartialEq for dyn $value {
            fn eq(&self, other: &dyn $value) -> bool {
                self.equals(other)
            }
        }

        // Without it, a derived PartialEq of what holds such a box would move out of it.
        impl PartialEq<&Box<dyn $value>> for Box<dyn $value> {
            fn eq(&self, other: &&Box<dyn $value>) -> bool {
                self.equals(&***other)
            }
        }
    };
}
