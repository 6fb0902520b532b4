//! What a statement takes from the session it runs in.

/// What a statement takes from the session it runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionContext {
    /// The catalog of names without one.
    pub catalog: Option<String>,
    /// The schema of names without one.
    pub schema: Option<String>,
    /// `current_user`
    pub user: String,
    /// `current_timezone()`: a zone name as clients send it.
    pub time_zone: String,
    /// The start of the query, in milliseconds since 1970 UTC: what `now()` gives.
    pub start_time_millis: i64,
    /// `version()`
    pub version: String,
}

impl Default for SessionContext {
    fn default() -> Self {
        SessionContext {
            catalog: None,
            schema: None,
            user: String::from("user"),
            time_zone: String::from("UTC"),
            start_time_millis: 0,
            version: String::from("483"),
        }
    }
}
