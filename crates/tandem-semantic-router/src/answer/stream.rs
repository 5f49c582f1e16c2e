//! An answer that comes as a stream of events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tandem_protocol::openai::body::JsonObject;

use super::choice::{Place, edit, index, is_finished};
use super::events::{EventReader, data, with_data};
use super::inspect::{Blocked, Inspector};
use super::refusal;
use super::window::{View, Window};

/// Bytes of events that are held back before all that is in them is looked at as it is. It also
/// bounds how long an event may be.
const MOST_HELD: usize = 256 << 10;

/// Texts of an answer: choices, each with its tool calls.
const MOST_TEXTS: usize = 4096;

/// A text by its choice and its place there.
type TextId = (u64, Place);

/// The events of an answer that have not gone on, and what is known about its texts.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    reader: EventReader,
    held: VecDeque<Held>,
    held_bytes: usize,
    texts: HashMap<TextId, Window>,
    choices: BTreeMap<u64, Ended>,
    /// A chunk, to make another of.
    chunk: Option<JsonObject>,
}

/// How far a choice has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ended {
    /// More may follow.
    #[default]
    No,
    /// Its last event is held back.
    Held,
    /// Clients know.
    Told,
}

/// An event that waits for what is in it to be looked at.
#[derive(Debug)]
struct Held {
    event: Bytes,
    said: Said,
}

/// What an event says.
#[derive(Debug, Default)]
struct Said {
    texts: Vec<(TextId, Range<usize>)>,
    /// Choices that end with it.
    ends: Vec<u64>,
    /// Whether nothing follows in any text.
    done: bool,
}

impl EventStream {
    /// Reads a piece; what may go on is appended to `out`.
    pub(super) async fn read(
        &mut self,
        inspector: &mut Inspector,
        piece: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), Blocked> {
        self.reader.push(piece);
        while let Some(event) = self.reader.next() {
            self.event(inspector, event, out).await?;
        }
        if self.reader.unfinished() > MOST_HELD {
            let event = self.reader.rest();
            self.event(inspector, event, out).await?;
        }
        Ok(())
    }

    /// The stream has ended.
    pub(super) async fn end(
        &mut self,
        inspector: &mut Inspector,
        out: &mut BytesMut,
    ) -> Result<(), Blocked> {
        let rest = self.reader.rest();
        if !rest.is_empty() {
            self.event(inspector, rest, out).await?;
        }
        let views = self.views(self.texts.keys().copied().collect(), Window::all);
        self.look(inspector, views).await?;
        self.release(out);
        Ok(())
    }

    /// What ends the stream if it must not go on.
    pub(super) fn refusal(&self) -> Bytes {
        let open = self
            .choices
            .iter()
            .filter(|(_, ended)| **ended != Ended::Told);
        let mut open: Vec<u64> = open.map(|(index, _)| *index).collect();
        if self.choices.is_empty() {
            open.push(0);
        }
        refusal::stream(self.chunk.as_ref(), open.into_iter())
    }

    async fn event(
        &mut self,
        inspector: &mut Inspector,
        event: Bytes,
        out: &mut BytesMut,
    ) -> Result<(), Blocked> {
        let said = match data(&event) {
            None => Said::default(),
            Some(done) if done.trim_ascii() == b"[DONE]" => Said {
                done: true,
                ..Said::default()
            },
            Some(json) => match self.chunk(&json) {
                Some(said) => said,
                None => {
                    inspector.unreadable()?;
                    Said::default()
                }
            },
        };
        self.held_bytes += event.len();
        let views = self.due(&said);
        self.held.push_back(Held { event, said });
        self.look(inspector, views).await?;
        self.release(out);
        Ok(())
    }

    /// Takes in the texts of a chunk; `None` if it is none.
    fn chunk(&mut self, json: &[u8]) -> Option<Said> {
        let chunk = JsonObject::parse(json).ok()?;
        let choices: Option<Vec<JsonObject>> = chunk.get("choices").ok()?;
        let mut said = Said::default();
        for mut choice in choices.into_iter().flatten() {
            let at = index(&choice);
            if self.texts.len() >= MOST_TEXTS || self.choices.len() >= MOST_TEXTS {
                return None;
            }
            let ended = self.choices.entry(at).or_default();
            if is_finished(&choice) {
                *ended = Ended::Held;
                said.ends.push(at);
            }
            edit(&mut choice, |place, text| {
                let id = (at, place);
                let range = self.texts.entry(id).or_default().push(text);
                said.texts.push((id, range));
                None
            });
        }
        self.chunk.get_or_insert(chunk);
        Some(said)
    }

    /// What should be looked at now that this was said.
    fn due(&self, said: &Said) -> Vec<(TextId, View)> {
        if said.done || self.held_bytes > MOST_HELD {
            return self.views(self.texts.keys().copied().collect(), Window::all);
        }
        let ended = |id: &TextId| {
            self.choices
                .get(&id.0)
                .is_some_and(|ended| *ended != Ended::No)
        };
        let mut complete = Vec::new();
        if !said.ends.is_empty() {
            complete.extend(self.texts.keys().copied().filter(ended));
        }
        let mut grown: Vec<TextId> = Vec::new();
        for (id, _) in &said.texts {
            if !complete.contains(id) && !grown.contains(id) {
                grown.push(*id);
            }
        }
        let mut views = self.views(complete, Window::all);
        views.extend(self.views(grown, Window::due));
        views
    }

    fn views(
        &self,
        ids: Vec<TextId>,
        view: impl Fn(&Window) -> Option<View>,
    ) -> Vec<(TextId, View)> {
        let views = ids.into_iter().filter_map(|id| {
            let view = view(self.texts.get(&id)?)?;
            Some((id, view))
        });
        views.collect()
    }

    async fn look(
        &mut self,
        inspector: &mut Inspector,
        views: Vec<(TextId, View)>,
    ) -> Result<(), Blocked> {
        if views.is_empty() {
            return Ok(());
        }
        let texts = views.iter().map(|(_, view)| Arc::clone(&view.text));
        let signals = inspector.look(texts.collect()).await?;
        for (id, view) in views {
            let findings = inspector.denied(&signals, &view.text);
            if let Some(window) = self.texts.get_mut(&id) {
                window.settle(&view, &findings);
            }
        }
        Ok(())
    }

    /// Lets the events go in which everything has been looked at, up to the first that waits.
    fn release(&mut self, out: &mut BytesMut) {
        while let Some(held) = self.held.pop_front() {
            let cleared = |(id, range): &(TextId, Range<usize>)| {
                let window = self.texts.get(id);
                window.is_none_or(|window| range.end <= window.cleared())
            };
            if !held.said.texts.iter().all(cleared) {
                self.held.push_front(held);
                return;
            }
            self.held_bytes -= held.event.len();
            for choice in &held.said.ends {
                self.choices.insert(*choice, Ended::Told);
            }
            match self.rewrite(&held) {
                Some(event) => out.extend_from_slice(&event),
                None => out.extend_from_slice(&held.event),
            }
        }
    }

    /// The event without what was found in it, if something was.
    fn rewrite(&mut self, held: &Held) -> Option<Bytes> {
        let windows = &mut self.texts;
        let found = |(id, range): &(TextId, Range<usize>)| {
            let window = windows.get(id);
            window.is_some_and(|window| window.has_findings(range))
        };
        if !held.said.texts.iter().any(found) {
            return None;
        }
        let said = data(&held.event)?;
        let mut chunk = JsonObject::parse(&said).ok()?;
        let mut choices: Vec<JsonObject> = chunk.get("choices").ok()??;
        let mut texts = held.said.texts.iter();
        for choice in &mut choices {
            edit(choice, |_, text| {
                let (id, range) = texts.next()?;
                windows.get_mut(id)?.replace(range, text)
            });
        }
        chunk.set("choices", &choices);
        Some(with_data(&held.event, &chunk.to_bytes()))
    }
}
