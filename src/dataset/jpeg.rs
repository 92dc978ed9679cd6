//! A JPEG file's markers (ITU-T T.81, annex B): size, sampling, quantisation tables, and whether the file ends.
//! Decodes no pixel.

/// Natural (row by row) place of the k-th coefficient in zigzag order (T.81, figure A.6).
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// A colour component of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    /// Horizontal and vertical sampling factor, 1 to 4.
    pub sampling: (u8, u8),
    /// Which quantisation table, 0 to 3.
    pub table: usize,
}

/// What stands before the first scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub width: u32,
    pub height: u32,
    pub progressive: bool,
    pub components: Vec<Component>,
    /// In natural order; entries of 16-bit tables are cut to 255.
    pub tables: [Option<[u8; 64]>; 4],
    /// Where the first scan's compressed data begins.
    scan: usize,
}

/// Whether bytes begin as a JPEG file does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Reads the markers up to the first scan; `Err` says what is missing or odd.
pub(super) fn head(bytes: &[u8]) -> Result<Head, String> {
    let cut = || "the JPEG is truncated: it ends inside its header".to_string();
    let mut tables = [None; 4];
    let mut frame = None;
    let mut at = 2;
    loop {
        while bytes.get(at) == Some(&0xFF) && bytes.get(at + 1) == Some(&0xFF) {
            at += 1;
        }
        let (&first, &marker) = (bytes.get(at).ok_or_else(cut)?, bytes.get(at + 1).ok_or_else(cut)?);
        if first != 0xFF {
            return Err(format!("the JPEG is damaged: no marker at byte {at}"));
        }
        at += 2;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        if marker == 0xD9 {
            return Err("the JPEG is damaged: it has no image data".into());
        }
        let length = bytes.get(at..at + 2).map(|b| usize::from(b[0]) << 8 | usize::from(b[1])).ok_or_else(cut)?;
        if length < 2 {
            return Err(format!("the JPEG is damaged: bad segment length at byte {at}"));
        }
        let body = bytes.get(at + 2..at + length).ok_or_else(cut)?;
        at += length;
        match marker {
            0xDB => read_tables(body, &mut tables).ok_or("the JPEG is damaged: bad quantisation table")?,
            0xC0..=0xC2 => frame = Some(read_frame(body, marker == 0xC2).ok_or("the JPEG is damaged: bad frame")?),
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                return Err(format!("this kind of JPEG (SOF{}) is not supported", marker - 0xC0));
            }
            0xDA => {
                let (width, height, progressive, components) = frame.ok_or("the JPEG is damaged: no frame")?;
                return Ok(Head { width, height, progressive, components, tables, scan: at });
            }
            _ => {}
        }
    }
}

fn read_tables(mut body: &[u8], tables: &mut [Option<[u8; 64]>; 4]) -> Option<()> {
    while let Some((&kind, rest)) = body.split_first() {
        let bytes = if kind >> 4 == 0 { 1 } else { 2 };
        let (values, rest) = rest.split_at_checked(64 * bytes)?;
        let slot = tables.get_mut(usize::from(kind & 15))?;
        let mut table = [0; 64];
        for (value, place) in values.chunks_exact(bytes).zip(ZIGZAG) {
            table[place] = if bytes == 2 && value[0] > 0 { 255 } else { value[bytes - 1] };
        }
        *slot = Some(table);
        body = rest;
    }
    Some(())
}

type Frame = (u32, u32, bool, Vec<Component>);

fn read_frame(body: &[u8], progressive: bool) -> Option<Frame> {
    let number = |at: usize| Some(u32::from(*body.get(at)?) << 8 | u32::from(*body.get(at + 1)?));
    let count = usize::from(*body.get(5)?);
    let components = body.get(6..6 + 3 * count)?;
    let components = components
        .chunks_exact(3)
        .map(|c| Component { sampling: (c[1] >> 4, c[1] & 15), table: usize::from(c[2] & 3) });
    Some((number(3)?, number(1)?, progressive, components.collect()))
}

/// Whether the end marker follows the last scan; without it the file is cut off.
pub(super) fn is_complete(bytes: &[u8], head: &Head) -> bool {
    let mut at = head.scan;
    loop {
        // Inside compressed data FF is followed by 00, or by a restart marker; any other marker ends the scan.
        let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(0xFF, rest)) else { return false };
        at += found + 1;
        match bytes.get(at) {
            None => return false,
            Some(0xD9) => return true,
            Some(0x00 | 0x01 | 0xD0..=0xD7) => at += 1,
            Some(0xFF) => {}
            Some(_) => {
                let Some(length) = bytes.get(at + 1..at + 3) else { return false };
                at += 1 + (usize::from(length[0]) << 8 | usize::from(length[1]));
            }
        }
    }
}
