//! Compressed streams: gzip, xz and zstd, told by their first bytes.

use crate::error::{Error, ErrorKind, Result};
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzReader, XzWriter};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{self, BufRead, BufReader, Read, Write};

/// Memory that a stream may ask for to be decompressed: xz with its highest preset asks for 65 MiB, zstd for up to
/// 128 MiB.
const MAX_MEMORY_KIB: u32 = 256 << 10;
const MAX_WINDOW: u64 = 128 << 20;
/// Bytes that make a frame of zstd of their own.
const FRAME: usize = 4 << 20;
/// Read from a stream at a time.
const BUFFER: usize = 256 << 10;
/// What xz does unless it is told otherwise.
const XZ_PRESET: u32 = 6;

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip, RFC 1952.
    Gzip,
    /// The .xz format.
    Xz,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// By its name: `gzip`, `xz`, `zstd`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "gzip" => Some(Self::Gzip),
            "xz" => Some(Self::Xz),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// That which the end of a file's name stands for.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending.as_bytes()));
        match () {
            () if ends(&[".gz", ".tgz"]) => Some(Self::Gzip),
            () if ends(&[".xz", ".txz"]) => Some(Self::Xz),
            () if ends(&[".zst", ".tzst"]) => Some(Self::Zstd),
            () => None,
        }
    }
}

/// What `reader` gives, decompressed where it begins as a compressed stream does. Several streams after each other are
/// one, as for the programs of those formats.
pub fn decompressed<'r>(reader: impl Read + 'r) -> Result<Box<dyn Read + 'r>> {
    let mut reader = BufReader::with_capacity(BUFFER, Start::new(reader).map_err(unreadable)?);
    let start = reader.fill_buf().map_err(unreadable)?;
    let is = |magic: &[u8]| start.starts_with(magic);
    let refused = |name: &str| Err(Error::new(ErrorKind::Unsupported, format!("the stream is compressed with {name}")));
    Ok(if is(b"\x1f\x8b") {
        Box::new(MultiGzDecoder::new(reader))
    } else if is(b"\xfd7zXZ\0") {
        Box::new(XzReader::new_mem_limit(reader, true, MAX_MEMORY_KIB))
    } else if is(b"\x28\xb5\x2f\xfd") || start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == *b"\x2a\x4d\x18"
    {
        Box::new(ZstdReader { reader: Some(reader), frame: None })
    } else if is(b"BZh") {
        return refused("bzip2, which is not read: gzip, xz and zstd are");
    } else if is(b"\x04\x22\x4d\x18") {
        return refused("lz4, which is not read: gzip, xz and zstd are");
    } else {
        Box::new(reader)
    })
}

fn unreadable(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the stream cannot be read").caused_by(error)
}

/// A reader whose first bytes come at once, however little the one below gives at a time.
struct Start<R> {
    first: io::Cursor<Vec<u8>>,
    reader: R,
}

impl<R: Read> Start<R> {
    fn new(mut reader: R) -> io::Result<Self> {
        let mut first = Vec::new();
        reader.by_ref().take(8).read_to_end(&mut first)?;
        Ok(Self { first: io::Cursor::new(first), reader })
    }
}

impl<R: Read> Read for Start<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.first.read(buf)? {
            // A call that a signal interrupts is repeated: not everyone above does so.
            0 => loop {
                match self.reader.read(buf) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return done,
                }
            },
            read => Ok(read),
        }
    }
}

/// A frame from its first byte, when the magic was read already.
type WithMagic<R> = io::Chain<io::Cursor<[u8; 4]>, R>;

/// Frames of zstd after each other; those that hold no data are passed over.
struct ZstdReader<R: Read> {
    /// Between two frames.
    reader: Option<R>,
    frame: Option<StreamingDecoder<WithMagic<R>, FrameDecoder>>,
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                match frame.read(buf)? {
                    0 => self.reader = self.frame.take().map(|frame| frame.into_inner().into_inner().1),
                    read => return Ok(read),
                }
            }
            let Some(mut reader) = self.reader.take() else { return Ok(0) };
            if reader.fill_buf()?.is_empty() {
                self.reader = Some(reader);
                return Ok(0);
            }
            let mut magic = [0; 4];
            reader.read_exact(&mut magic)?;
            if magic[0] & 0xf0 == 0x50 && magic[1..] == *b"\x2a\x4d\x18" {
                let mut len = [0; 4];
                reader.read_exact(&mut len)?;
                let len = u64::from(u32::from_le_bytes(len));
                if io::copy(&mut reader.by_ref().take(len), &mut io::sink())? < len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.reader = Some(reader);
                continue;
            }
            let source = io::Cursor::new(magic).chain(reader);
            let frame = StreamingDecoder::new_with_max_window_size(source, MAX_WINDOW).map_err(io::Error::other)?;
            self.frame = Some(frame);
        }
    }
}

/// Compresses what is written to it. [`Compressor::finish`] ends the stream.
pub struct Compressor<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
    Xz(Box<XzWriter<W>>),
    /// What was not compressed yet; one frame after the other.
    Zstd(W, Vec<u8>),
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl<W: Write> Compressor<W> {
    /// Writes to `out`, with `how` none as it is. The same bytes give the same stream.
    pub fn new(out: W, how: Option<Compression>) -> io::Result<Self> {
        Ok(Self(match how {
            None => Kind::Plain(out),
            // Neither a name nor a time is in the header.
            Some(Compression::Gzip) => Kind::Gzip(Box::new(GzEncoder::new(out, flate2::Compression::default()))),
            Some(Compression::Xz) => Kind::Xz(Box::new(XzWriter::new(out, XzOptions::with_preset(XZ_PRESET))?)),
            Some(Compression::Zstd) => Kind::Zstd(out, Vec::with_capacity(FRAME)),
        }))
    }

    /// Ends the stream, which is incomplete before, and gives back where it went.
    pub fn finish(self) -> io::Result<W> {
        let mut out = match self.0 {
            Kind::Plain(out) => out,
            Kind::Gzip(encoder) => encoder.finish()?,
            Kind::Xz(writer) => writer.finish()?,
            Kind::Zstd(mut out, rest) => {
                out.write_all(&compress_to_vec(&rest[..], CompressionLevel::Fastest))?;
                out
            }
        };
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(out) => out.write(buf),
            Kind::Gzip(encoder) => encoder.write(buf),
            Kind::Xz(writer) => writer.write(buf),
            Kind::Zstd(out, pending) => {
                let taken = buf.len().min(FRAME - pending.len());
                pending.extend_from_slice(&buf[..taken]);
                if pending.len() == FRAME {
                    out.write_all(&compress_to_vec(&pending[..], CompressionLevel::Fastest))?;
                    pending.clear();
                }
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Plain(out) | Kind::Zstd(out, _) => out.flush(),
            Kind::Gzip(encoder) => encoder.flush(),
            // What is pending stays so: a block that ends early costs bytes.
            Kind::Xz(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_kit::{require, tool};
    use std::process::Command;

    const ALL: [(&str, Compression); 3] =
        [("gzip", Compression::Gzip), ("xz", Compression::Xz), ("zstd", Compression::Zstd)];

    fn sample() -> Vec<u8> {
        let mut sample: Vec<u8> = (0..2_000_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        sample.extend(vec![0; 3_000_000]);
        sample
    }

    fn compressed(how: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut out = Compressor::new(Vec::new(), Some(how)).unwrap();
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decompressed(bytes).map_err(io::Error::other)?.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn what_is_compressed_comes_back_and_several_streams_are_one() {
        let sample = sample();
        for (name, how) in ALL {
            let stream = compressed(how, &sample);
            assert!(stream.len() < sample.len() / 2, "{name}: {}", stream.len());
            let twice = [&stream[..], &compressed(how, b"more")].concat();
            assert!(read(&twice).unwrap() == [&sample[..], b"more"].concat(), "{name}");
            assert!(read(&stream[..stream.len() / 2]).is_err(), "{name}: cut off");
            assert_eq!(read(&compressed(how, b"")).unwrap(), b"", "{name}");
        }
        for plain in [&b""[..], b"x", b"plain text"] {
            assert_eq!(read(plain).unwrap(), plain);
        }
        assert_eq!(decompressed(&b"BZh91AY"[..]).err().unwrap().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn other_programs_read_it_and_are_read() {
        if !require(&["gzip", "xz", "zstd"]) {
            return;
        }
        let folder = nomount_kit::scratch::folder();
        let sample = sample();
        for (name, how) in ALL {
            let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
            std::fs::write(&ours, compressed(how, &sample)).unwrap();
            std::fs::write(&plain, &sample).unwrap();
            let there = tool::output(Command::new(name).args(["-d", "-c"]).stdin(std::fs::File::open(&ours).unwrap()));
            assert!(there.status.success() && there.stdout == sample, "{name}: {:?}", there.status);
            let back = tool::output(Command::new(name).arg("-c").stdin(std::fs::File::open(&plain).unwrap()));
            assert!(back.status.success() && read(&back.stdout).unwrap() == sample, "{name}");
        }
    }
}
