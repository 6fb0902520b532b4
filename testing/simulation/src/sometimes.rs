//! What must happen in some lifetimes, or else it was not tested.

/// All of it, in the order of the alphabet.
pub const SOMETIMES: [&str; 55] = [
    "clients that vanished",
    "commit races lost",
    "commits over unreadable ones",
    "commits recovered",
    "coordinators that died with unrecorded queries",
    "data lost for good",
    "ends recorded",
    "faults at bad moments",
    "inputs found lost",
    "leaders in doubt",
    "leases too small",
    "leftovers swept",
    "listings that were not atomic",
    "no workers for too long",
    "operations of the dead",
    "orders of an older epoch",
    "outputs that are only in reports",
    "outputs that came too late for a report",
    "outputs that somebody else has committed meanwhile",
    "own commit recognised",
    "own records recognised",
    "pages served again",
    "queries found by a sweep",
    "queries found by their client",
    "queries found half deleted",
    "queries given up for want of a record",
    "queries recovered",
    "queries recovered before they were planned",
    "queries that could not be recorded",
    "queries that ended with a worker that drained",
    "queries that ended with their coordinator",
    "queries that get records late",
    "records of others adopted",
    "records written after the end",
    "regions started",
    "regions tried again",
    "results lost under their reader",
    "results with inputs made again since they were read",
    "right answers",
    "rollbacks of one output",
    "rollbacks of several outputs",
    "root outputs lost",
    "short queries run again",
    "short queries that are not recorded",
    "stages sealed",
    "superseded",
    "takeovers by a standby",
    "tasks recorded",
    "tasks that failed too often",
    "tasks that lost too many workers",
    "tasks too large for every worker",
    "unreadable commits left out",
    "unreadable records found",
    "unreadable records met",
    "user errors told",
];

/// What is counted, and may never happen: a client that cancels its query does not ask how it ended, and a coordinator
/// that leads no more hardly ever decides, between looking who leads and writing, that a query failed which ended well.
pub const RARELY: [&str; 3] =
    ["cancelled queries", "good ends looked into", "good ends that cannot be made good"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_listed_once() {
        assert!(SOMETIMES.is_sorted_by(|one, next| one < next));
    }
}
