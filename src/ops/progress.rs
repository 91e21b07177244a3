//! How far a long operation has come, told to whoever shows it.

/// Hears how far an operation has come. Every method has to be quick: it is called for each file and each piece of one.
pub trait Progress {
    /// How many bytes there will be, where that is known before: none otherwise.
    fn total(&mut self, bytes: Option<u64>);

    /// What is worked on from now on. Bytes from an image: to be escaped on a terminal.
    fn at(&mut self, path: &[u8]);

    /// So many bytes more are done.
    fn add(&mut self, bytes: u64);
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn total(&mut self, _bytes: Option<u64>) {}

    fn at(&mut self, _path: &[u8]) {}

    fn add(&mut self, _bytes: u64) {}
}
