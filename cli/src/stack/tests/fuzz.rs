//! Mutations of small files: whatever is in them, nothing panics, and every message has a place in the text that it names.
//!
//! A bounded run with a fixed seed, as part of the tests: it needs no nightly compiler and no fuzzer. `ECSNET_FUZZ_ROUNDS` makes it longer,
//! `ECSNET_FUZZ_SEED` another one; a fault prints the text that made it. Keep such a text in `seeds/`.

use super::*;

/// A generator of numbers that is the same everywhere (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// What a mutation puts in: what the readers and the parser treat in ways of their own.
const PIECES: &[&str] = &[
    "-1",
    "0",
    "65536",
    "4294967296",
    "1e400",
    "9223372036854775808",
    ".nan",
    "~",
    "null",
    "true",
    "\"\"",
    "''",
    "[]",
    "{}",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "\n",
    "  ",
    "\t",
    "#",
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "|\n",
    ">\n",
    "---\n",
    "...\n",
    "? ",
    "<<: ",
    "\\ud83d",
    "\\u0000",
    "ü",
    "大",
    "\u{feff}",
    "\u{0}",
    "\r\n",
    "\"",
    "'",
    "\\",
    "10.0.0.0/33",
    "::/0",
    "0.0.0.0/0",
    "8010-8000",
    "$ref",
    "~1",
    "{{command}}",
    "${X}",
];

/// One change of a text, at a place that chance says.
fn mutated(text: &str, chance: &mut Chance) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let at = chance.below(characters.len() + 1);
    let span = chance.below(24).min(characters.len() - at);
    match chance.below(6) {
        0 => drop(characters.drain(at..at + span)),
        1 => {
            let copy: Vec<char> = characters[at..at + span].to_vec();
            let to = chance.below(characters.len() + 1);
            characters.splice(to..to, copy);
        }
        2 => {
            let piece = PIECES[chance.below(PIECES.len())];
            characters.splice(at..at, piece.chars());
        }
        3 => {
            // In place of a word, which is mostly a key or a value.
            let end = characters[at..].iter().position(|c| !c.is_alphanumeric()).map_or(characters.len(), |n| at + n);
            characters.splice(at..end, PIECES[chance.below(PIECES.len())].chars());
        }
        4 => characters.truncate(at),
        _ => {
            if let Some(character) = characters.get_mut(at) {
                *character = char::from_u32(u32::try_from(chance.below(0x300)).unwrap()).unwrap_or('x');
            }
        }
    }
    characters.into_iter().collect()
}

/// Loads two texts as a stack file and its task definition, and looks at every message.
fn try_out(folder: &Folder, stack: &str, definition: &str, name: &str) {
    let tried = std::panic::catch_unwind(|| {
        std::fs::write(folder.0.path().join("stack.yaml"), stack).unwrap();
        std::fs::write(folder.0.path().join(name), definition).unwrap();
        let loaded = folder.load(&Overrides::default());
        for problem in &loaded.problems {
            assert_has_a_place(problem, &loaded);
            assert!(!problem.message.trim().is_empty(), "{problem:?}");
        }
        let has_error = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
        assert_eq!(
            loaded.stack.is_none(),
            has_error,
            "refused if and only if something is wrong: {:?}",
            loaded.problems
        );
        report::render(&loaded.problems, &loaded.sources, false);
    });
    if let Err(panic) = tried {
        eprintln!("stack.yaml:\n{stack}\n{name}:\n{definition}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn no_file_makes_the_readers_panic_and_every_message_has_a_place() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let rounds = number("ECSNET_FUZZ_ROUNDS", 800);
    let mut chance = Chance(number("ECSNET_FUZZ_SEED", 20_261_124));
    let stacks = [include_str!("seeds/stack.yaml"), include_str!("everything.yaml")];
    let definitions =
        [include_str!("seeds/task.json"), include_str!("seeds/described.json"), include_str!("seeds/task.yaml")];
    let folder = Folder::with(&[]);
    for _ in 0..rounds {
        let stack = stacks[chance.below(stacks.len())];
        let definition = definitions[chance.below(definitions.len())];
        let (mut stack, mut definition) = (stack.to_owned(), definition.to_owned());
        for _ in 0..=chance.below(4) {
            if chance.below(2) == 0 {
                stack = mutated(&stack, &mut chance);
            } else {
                definition = mutated(&definition, &mut chance);
            }
        }
        // The seed's stack names one, `everything.yaml` the other.
        for name in ["task.json", "described.yaml"] {
            try_out(&folder, &stack, &definition, name);
        }
    }
}

#[test]
fn the_seeds_themselves_load() {
    let folder = Folder::with(&[
        ("stack.yaml", include_str!("seeds/stack.yaml")),
        ("task.json", include_str!("seeds/task.json")),
        ("task.yaml", include_str!("seeds/task.yaml")),
        ("described.json", include_str!("seeds/described.json")),
    ]);
    let loaded = folder.load(&Overrides::default());
    assert!(loaded.stack.is_some(), "{:?}", loaded.problems);
}
