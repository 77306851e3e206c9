//! What holds of every connection list, whoever made it up.

use std::hash::RandomState;
use std::sync::Arc;

use connwarden::model::application::ApplicationRules;
use connwarden::model::breakdown::By;
use connwarden::nats::connz::{Connection, ConnzError, ConnzReader, Envelope};
use connwarden::observe::tally::{ServerFacts, Tally, TallyRules};
use connwarden::observe::users::UserMask;

/// Fails unless a list says the same however it is split, and every one of its connections is counted along every
/// dimension.
///
/// What is behind the last NUL of the input says where the list is split: the first byte how often the reader looks,
/// the others how long the pieces are.
pub fn check(input: &[u8]) {
    let (list, splits) = match input.iter().rposition(|byte| *byte == 0) {
        Some(place) => (&input[..place], &input[place + 1..]),
        None => (input, [1, 7].as_slice()),
    };
    let mut tallies = [tally(false), tally(true)];
    let whole = read(ConnzReader::default(), [list], |envelope, connection, seen| {
        tallies[seen % 2].add(envelope, connection);
    });
    let step = splits.first().map_or(1, |step| 1 + usize::from(*step));
    let split =
        read(ConnzReader::with_step(step), pieces(list, splits.get(1..).unwrap_or_default()), |_, _, _| ());
    assert_eq!(whole, split, "split at {splits:?}");

    let seen = whole.0.len() as u64;
    let [mut all, other] = tallies;
    all.absorb(other);
    for (by, breakdown) in all.into_breakdowns() {
        for cut in [breakdown.clone(), breakdown.top(1)] {
            let listed: u64 = cut.groups.iter().map(|group| group.figures.connections).sum();
            assert_eq!(
                (listed + cut.other.figures.connections, cut.total.connections),
                (seen, seen),
                "by {by}"
            );
        }
    }
}

/// Reads a list piece by piece: its connections, and how it ended.
fn read<'a>(
    mut reader: ConnzReader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut also: impl FnMut(&Envelope, &Connection<'_>, usize),
) -> (Vec<String>, Result<Envelope, ConnzError>) {
    let mut seen = Vec::new();
    let mut each = |envelope: &Envelope, connection: &Connection<'_>| {
        also(envelope, connection, seen.len());
        seen.push(format!("{connection:?}"));
    };
    let fed = pieces.into_iter().try_for_each(|piece| reader.feed(piece, &mut each));
    let finished = reader.finish(&mut each);
    // who stops at an error may still end the list, and is told the same
    if let Err(error) = fed {
        assert_eq!(finished, Err(error));
    }
    if let Ok(envelope) = &finished {
        assert_eq!(envelope.read, seen.len() as u64);
    }
    (seen, finished)
}

/// Takes a list apart: pieces of these lengths, again and again.
fn pieces<'a>(list: &'a [u8], lengths: &'a [u8]) -> Vec<&'a [u8]> {
    let lengths = if lengths.is_empty() { &[0] } else { lengths };
    let (mut rest, mut pieces) = (list, Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at(rest.len().min(1 + usize::from(*length)));
        pieces.push(piece);
        rest = more;
    }
    pieces
}

fn tally(since_2_11: bool) -> Tally {
    let rules = TallyRules {
        by: By::standard(),
        applications: Arc::new(ApplicationRules::default()),
        users: UserMask::new(&[7; 32]),
        idle_after_us: 300_000_000,
        starts: Some(jiff::Timestamp::UNIX_EPOCH),
        hashing: RandomState::new(),
    };
    Tally::new(&rules, ServerFacts { name: "nats-1".to_owned(), since_2_11, now_us: 0 })
}
