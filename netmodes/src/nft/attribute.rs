//! Netlink attributes, written and read: length, type, payload, padded to four bytes.
//!
//! nfnetlink's numbers are big endian, unlike rtnetlink's. Reading never panics: what is cut short just ends.

/// The bit in a type that says that attributes are inside.
const NESTED: u16 = 0x8000;

/// Appends attributes to a buffer.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    /// Raw bytes.
    pub(super) fn bytes(&mut self, kind: u16, payload: &[u8]) {
        let length = (payload.len() + 4) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// A text and its final zero.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        let length = (text.len() + 5) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(text.as_bytes());
        self.0.push(0);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// A number, big endian.
    pub(super) fn number(&mut self, kind: u16, number: u32) {
        self.bytes(kind, &number.to_be_bytes());
    }

    /// Attributes inside of one. They must stay below 64 KiB together.
    pub(super) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Writer<'_>)) {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend((kind | NESTED).to_ne_bytes());
        inside(&mut Writer(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The attributes in a buffer, as type and payload, in order.
pub(super) fn attributes(mut buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, _) = buffer.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let payload = buffer.get(4..length)?;
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The payload of the attribute `kind`.
pub(super) fn attribute(buffer: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(buffer).find(|(k, _)| *k == kind).map(|(_, payload)| payload)
}

/// A number, big endian.
pub(super) fn number(buffer: &[u8], kind: u16) -> Option<u32> {
    attribute(buffer, kind)?.try_into().ok().map(u32::from_be_bytes)
}

/// A text, without its final zero.
pub(super) fn text(buffer: &[u8], kind: u16) -> Option<&str> {
    let payload = attribute(buffer, kind)?;
    let end = payload.iter().position(|b| *b == 0).unwrap_or(payload.len());
    std::str::from_utf8(&payload[..end]).ok()
}
