//! The one way to declare a struct that both sides of the kernel boundary read.

/// Declares a `#[repr(C)]` struct with its size in bytes: `pub struct Name[SIZE] { pub field: type, .. }`.
///
/// Expands to the struct with the usual derives, an assertion that its size is `SIZE`, an assertion that the
/// fields leave no padding, and `aya::Pod` with the feature `user`.
macro_rules! shared {
    ($(#[$attr:meta])* pub struct $name:ident[$size:literal] {
        $($(#[$field_attr:meta])* pub $field:ident: $ty:ty,)+
    }) => {
        $(#[$attr])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_attr])* pub $field: $ty,)+
        }

        const _: () = {
            assert!(size_of::<$name>() == $size, "the struct's size is not the one declared");
            assert!(0 $(+ size_of::<$ty>())+ == $size, "the struct has implicit padding");
        };

        #[cfg(feature = "user")]
        // SAFETY: `repr(C)`, made of integers and integer arrays only, without padding (asserted above), so
        // every bit pattern is valid and every byte is initialised.
        unsafe impl aya::Pod for $name {}
    };
}

pub(crate) use shared;
