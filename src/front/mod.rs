pub mod http;
pub mod postgres;
