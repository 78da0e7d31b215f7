pub mod message;
pub mod sdo;
pub mod nmt;
pub mod emcy;
pub mod pdo;
