//! Faults are drawn as cards are: each of them comes once before one comes again.

use crate::drills::random::Random;

#[derive(Debug)]
pub struct Deck<T: 'static> {
    cards: &'static [T],
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    pub fn new(cards: &'static [T]) -> Self {
        Self {
            cards,
            left: Vec::new(),
        }
    }

    pub fn draw(&mut self, random: &mut Random) -> T {
        if self.left.is_empty() {
            self.left = self.cards.to_vec();
        }
        self.left.swap_remove(random.below(self.left.len()))
    }
}
