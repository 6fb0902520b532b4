//! What a client says it understands.

/// The header `X-Trino-Client-Capabilities`, read. Names that are not known are ignored, as Trino does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCapabilities {
    /// `PATH`: understands `Set-Path`.
    pub path: bool,
    /// `PARAMETRIC_DATETIME`: understands `timestamp(p)`; others are given milliseconds.
    pub parametric_datetime: bool,
    /// `NUMBER`: understands the type `number`.
    pub number: bool,
    /// `VARIANT`: understands the type `variant`.
    pub variant: bool,
    /// `VARIANT_BINARY`: takes variants in binary.
    pub variant_binary: bool,
    /// `SESSION_AUTHORIZATION`: understands `Set-Authorization-User`.
    pub session_authorization: bool,
}

impl ClientCapabilities {
    /// Everything there is. Our own client has it.
    pub const ALL: ClientCapabilities = ClientCapabilities {
        path: true,
        parametric_datetime: true,
        number: true,
        variant: true,
        variant_binary: true,
        session_authorization: true,
    };

    /// Every capability, each with its name on the wire.
    fn named(self) -> [(&'static str, bool); 6] {
        [
            ("PATH", self.path),
            ("PARAMETRIC_DATETIME", self.parametric_datetime),
            ("NUMBER", self.number),
            ("VARIANT", self.variant),
            ("VARIANT_BINARY", self.variant_binary),
            ("SESSION_AUTHORIZATION", self.session_authorization),
        ]
    }

    /// The names on the wire of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.named().into_iter().filter(|(_, set)| *set).map(|(name, _)| name)
    }
}

impl<'a> FromIterator<&'a str> for ClientCapabilities {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut capabilities = ClientCapabilities::default();
        for name in names {
            match name.trim() {
                "PATH" => capabilities.path = true,
                "PARAMETRIC_DATETIME" => capabilities.parametric_datetime = true,
                "NUMBER" => capabilities.number = true,
                "VARIANT" => capabilities.variant = true,
                "VARIANT_BINARY" => capabilities.variant_binary = true,
                "SESSION_AUTHORIZATION" => capabilities.session_authorization = true,
                _ => {}
            }
        }
        capabilities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_are_ignored() {
        let all: ClientCapabilities = ClientCapabilities::ALL.names().collect();
        assert_eq!(all, ClientCapabilities::ALL);
        let some: ClientCapabilities = ["NUMBER", "TIME_TRAVEL"].into_iter().collect();
        assert_eq!(some, ClientCapabilities { number: true, ..Default::default() });
    }
}
