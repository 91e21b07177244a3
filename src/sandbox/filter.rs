//! A filter of system calls as the kernel takes it: a program of classic BPF.
//!
//! It looks a call up by halving, not one after the other: when a filter is installed, the kernel runs it for every call
//! that there is, and that is most of what locking in takes.

use libc::c_long;
use rustix::io::Errno;
use seccompiler::sock_filter;
use std::collections::BTreeMap;

/// Calls of the processor that the program runs on: those of another kind have other numbers.
#[cfg(target_arch = "x86_64")]
const PROCESSOR: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const PROCESSOR: u32 = 0xC000_00B7;
/// From here on x86 has calls with shorter addresses, which nobody needs.
const SHORT_ADDRESSES: u32 = 0x4000_0000;

/// Offsets in what the kernel tells of a call: its number, the processor, and the first of its arguments.
const NUMBER: u32 = 0;
const KIND: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Load a word; jump when it is equal, not less, or always; return.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_NOT_LESS: u16 = 0x35;
const JUMP: u16 = 0x05;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is made.
    Allowed,
    /// As if the kernel did not have it.
    Missing,
    /// It is not permitted.
    Forbidden,
    /// It ends the process.
    Deadly,
}

impl Answer {
    fn value(self) -> u32 {
        let errno = |errno: Errno| 0x0005_0000 | errno.raw_os_error() as u32;
        match self {
            Self::Allowed => 0x7FFF_0000,
            Self::Missing => errno(Errno::NOSYS),
            Self::Forbidden => errno(Errno::PERM),
            Self::Deadly => 0x8000_0000,
        }
    }
}

/// When a call is made that has an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum When {
    /// The lower half of the argument is one of these.
    Is(u32, Vec<u32>),
    /// The lower half of the argument, masked, is this.
    Bits(u32, u32, u32),
    /// All of the argument is zero.
    Null(u32),
}

impl When {
    pub(super) fn is(argument: u32, values: impl IntoIterator<Item = u32>) -> Self {
        Self::Is(argument, values.into_iter().collect())
    }

    pub(super) fn bits(argument: u32, mask: u32, value: u32) -> Self {
        Self::Bits(argument, mask, value)
    }

    pub(super) fn null(argument: u32) -> Self {
        Self::Null(argument)
    }
}

/// What is decided for a call, and for all behind it up to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    Always(Answer),
    Only(When),
}

/// A filter that is being made.
#[derive(Debug)]
pub(super) struct Filter {
    others: Answer,
    calls: BTreeMap<u32, Decision>,
}

fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes on with the next step when the comparison holds, and behind `skip` steps otherwise.
fn unless(code: u16, k: u32, skip: u8) -> sock_filter {
    sock_filter { code, jt: 0, jf: skip, k }
}

impl Filter {
    /// One that has this answer for all calls that are not named.
    pub(super) fn new(others: Answer) -> Self {
        Self { others, calls: BTreeMap::new() }
    }

    fn decide(&mut self, call: c_long, decision: Decision) {
        let call = u32::try_from(call).expect("numbers of calls are small");
        self.calls.insert(call, decision);
    }

    /// Names calls that have an answer.
    pub(super) fn all(mut self, lists: &[&[c_long]], answer: Answer) -> Self {
        lists.iter().copied().flatten().for_each(|call| self.decide(*call, Decision::Always(answer)));
        self
    }

    /// Names a call that is made with some arguments only, and otherwise has the answer of the others.
    pub(super) fn only(mut self, call: c_long, when: When) -> Self {
        self.decide(call, Decision::Only(when));
        self
    }

    /// How many calls are named.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// The program.
    pub(super) fn program(&self) -> Vec<sock_filter> {
        let mut runs: Vec<(u32, Decision)> = vec![(0, Decision::Always(self.others))];
        let mut put = |start: u32, decision: Decision| match runs.last_mut() {
            Some(last) if last.0 == start => last.1 = decision,
            Some(last) if last.1 == decision => {}
            _ => runs.push((start, decision)),
        };
        for (call, decision) in &self.calls {
            put(*call, decision.clone());
            put(*call + 1, Decision::Always(self.others));
        }
        put(SHORT_ADDRESSES, Decision::Always(Answer::Missing));
        let mut program = vec![
            step(LOAD, KIND),
            sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k: PROCESSOR },
            step(RETURN, Answer::Deadly.value()),
            step(LOAD, NUMBER),
        ];
        program.extend(self.halved(&runs));
        program
    }

    /// Steps for a call that is in one of these runs.
    fn halved(&self, runs: &[(u32, Decision)]) -> Vec<sock_filter> {
        if let [(_, decision)] = runs {
            return self.decided(decision);
        }
        let (lower, upper) = runs.split_at(runs.len() / 2);
        let (below, above) = (self.halved(lower), self.halved(upper));
        let far = u32::try_from(below.len()).expect("programs are short");
        // A conditional jump cannot go far.
        let mut steps = vec![unless(IF_NOT_LESS, upper[0].0, 1), step(JUMP, far)];
        steps.extend(below);
        steps.extend(above);
        steps
    }

    fn decided(&self, decision: &Decision) -> Vec<sock_filter> {
        let allow = step(RETURN, Answer::Allowed.value());
        let other = step(RETURN, self.others.value());
        // The processor's byte order puts the lower half first.
        let half = |argument: u32, upper: u32| step(LOAD, ARGUMENTS + 8 * argument + 4 * upper);
        match decision {
            Decision::Always(answer) => vec![step(RETURN, answer.value())],
            Decision::Only(When::Is(argument, values)) => {
                let mut steps = vec![half(*argument, 0)];
                steps.extend(values.iter().flat_map(|value| [unless(IF_EQUAL, *value, 1), allow.clone()]));
                steps.push(other);
                steps
            }
            Decision::Only(When::Bits(argument, mask, value)) => {
                vec![half(*argument, 0), step(AND, *mask), unless(IF_EQUAL, *value, 1), allow, other]
            }
            Decision::Only(When::Null(argument)) => {
                let (lower, upper) = (half(*argument, 0), half(*argument, 1));
                vec![lower, unless(IF_EQUAL, 0, 3), upper, unless(IF_EQUAL, 0, 1), allow, other]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel does: the number of the call, the processor, the arguments.
    fn ask(program: &[sock_filter], number: u32, kind: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            KIND => kind,
            _ => {
                let (index, upper) = ((offset - ARGUMENTS) / 8, (offset - ARGUMENTS) % 8 / 4);
                (arguments[index as usize] >> (32 * upper)) as u32
            }
        };
        let (mut at, mut value) = (0, 0);
        loop {
            let now = &program[at];
            at += 1;
            let mut branch = |holds: bool| at += usize::from(if holds { now.jt } else { now.jf });
            match now.code {
                LOAD => value = word(now.k),
                AND => value &= now.k,
                IF_EQUAL => branch(value == now.k),
                IF_NOT_LESS => branch(value >= now.k),
                JUMP => at += now.k as usize,
                RETURN => return now.k,
                code => panic!("no step {code:#x}"),
            }
        }
    }

    #[test]
    fn every_call_has_its_answer() {
        let filter = Filter::new(Answer::Missing)
            .all(&[&[1, 2, 3, 9, 400]], Answer::Allowed)
            .all(&[&[0, 4, 200]], Answer::Deadly)
            .all(&[&[5]], Answer::Forbidden);
        let program = filter.program();
        for number in (0..1000).chain([SHORT_ADDRESSES, SHORT_ADDRESSES + 1, u32::MAX]) {
            let wanted = match number {
                1..=3 | 9 | 400 => Answer::Allowed,
                0 | 4 | 200 => Answer::Deadly,
                5 => Answer::Forbidden,
                _ => Answer::Missing,
            };
            assert_eq!(ask(&program, number, PROCESSOR, [0; 6]), wanted.value(), "{number}");
            assert_eq!(ask(&program, number, 0x4000_0003, [0; 6]), Answer::Deadly.value());
        }
        let all_but = Filter::new(Answer::Allowed).all(&[&[7]], Answer::Deadly).program();
        assert_eq!(ask(&all_but, SHORT_ADDRESSES + 7, PROCESSOR, [0; 6]), Answer::Missing.value());
    }

    #[test]
    fn arguments_decide() {
        let filter = Filter::new(Answer::Missing)
            .only(1, When::is(1, [7, 9]))
            .only(2, When::bits(2, 4, 0))
            .only(3, When::bits(0, 6, 2))
            .only(4, When::null(4));
        let program = filter.program();
        let allowed = |number, index: usize, value| {
            let mut arguments = [1_u64 << 40 | 1; 6];
            arguments[index] = value;
            match ask(&program, number, PROCESSOR, arguments) {
                answer if answer == Answer::Allowed.value() => true,
                answer => {
                    assert_eq!(answer, Answer::Missing.value());
                    false
                }
            }
        };
        assert!(allowed(1, 1, 7) && allowed(1, 1, 9) && !allowed(1, 1, 8) && allowed(1, 1, 1 << 32 | 7));
        assert!(allowed(2, 2, 3) && !allowed(2, 2, 4) && !allowed(2, 2, 7));
        assert!(allowed(3, 0, 2) && allowed(3, 0, 3) && !allowed(3, 0, 6) && !allowed(3, 0, 0));
        assert!(allowed(4, 4, 0) && !allowed(4, 4, 1) && !allowed(4, 4, 1 << 32));
    }
}
